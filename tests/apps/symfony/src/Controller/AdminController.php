<?php

declare(strict_types=1);

namespace App\Controller;

use App\Entity\Post;
use App\Entity\User;
use App\Form\PostType;
use Doctrine\ORM\EntityManagerInterface;
use Symfony\Bundle\FrameworkBundle\Controller\AbstractController;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\Routing\Attribute\Route;

#[Route('/{_locale<en|de|fr>}/admin/post')]
final class AdminController extends AbstractController
{
    public function __construct(private readonly EntityManagerInterface $manager)
    {
    }

    #[Route('/', name: 'admin', methods: ['GET'])]
    public function index(): Response
    {
        return $this->render('admin/index.html.twig', ['posts' => $this->manager->getRepository(Post::class)->findBy([], ['id' => 'DESC'])]);
    }

    #[Route('/new', name: 'admin_new', methods: ['GET', 'POST'])]
    public function new(Request $request): Response
    {
        $form = $this->createForm(PostType::class, null, ['empty_data' => fn ($form): Post => $this->made($form)]);
        $form->handleRequest($request);
        if ($form->isSubmitted() && $form->isValid()) {
            $this->manager->persist($form->getData());
            $this->manager->flush();
            return $this->redirectToRoute('admin', [], Response::HTTP_SEE_OTHER);
        }
        return $this->render('admin/form.html.twig', ['form' => $form]);
    }

    #[Route('/{id<\d+>}/edit', name: 'admin_edit', methods: ['GET', 'POST'])]
    public function edit(Request $request, int $id): Response
    {
        $post = $this->manager->find(Post::class, $id) ?? throw $this->createNotFoundException("no post $id");
        $form = $this->createForm(PostType::class, $post);
        $form->handleRequest($request);
        if ($form->isSubmitted() && $form->isValid()) {
            $this->manager->flush();
            return $this->redirectToRoute('admin', [], Response::HTTP_SEE_OTHER);
        }
        return $this->render('admin/form.html.twig', ['form' => $form]);
    }

    /** @param \Symfony\Component\Form\FormInterface<Post|null> $form */
    private function made($form): Post
    {
        $author = $this->getUser();
        assert($author instanceof User);
        $post = new Post((string) $form->get('title')->getData(), (string) $form->get('summary')->getData(), (string) $form->get('content')->getData(), $author);
        $same = $this->manager->getRepository(Post::class)->count(['title' => $post->title]);
        if ($same > 0) {
            $post->number($same + 1);
        }
        return $post;
    }
}
