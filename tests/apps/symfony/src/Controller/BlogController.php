<?php

declare(strict_types=1);

namespace App\Controller;

use App\Entity\Comment;
use App\Entity\Post;
use App\Entity\User;
use App\Form\CommentType;
use Doctrine\ORM\EntityManagerInterface;
use Symfony\Bundle\FrameworkBundle\Controller\AbstractController;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\Routing\Attribute\Route;
use Symfony\Component\Security\Http\Authentication\AuthenticationUtils;

final class BlogController extends AbstractController
{
    public function __construct(private readonly EntityManagerInterface $manager)
    {
    }

    #[Route('/', name: 'home', methods: ['GET'])]
    public function home(Request $request): Response
    {
        return $this->redirectToRoute('blog', ['_locale' => $request->getLocale()]);
    }

    #[Route('/{_locale<en|de|fr>}/blog/', name: 'blog', methods: ['GET'])]
    public function index(): Response
    {
        $posts = $this->manager->getRepository(Post::class)->findBy([], ['publishedAt' => 'DESC', 'id' => 'DESC'], 10);
        return $this->render('blog/index.html.twig', ['posts' => $posts, 'query' => null]);
    }

    #[Route('/{_locale<en|de|fr>}/blog/search', name: 'search', methods: ['GET'])]
    public function search(Request $request): Response
    {
        $query = trim((string) $request->query->get('q'));
        $posts = $query === '' ? [] : $this->manager->createQuery('SELECT p FROM App\Entity\Post p WHERE p.title LIKE :q ESCAPE \'!\' ORDER BY p.id DESC')
            ->setParameter('q', '%' . strtr($query, ['!' => '!!', '%' => '!%', '_' => '!_']) . '%')->setMaxResults(10)->getResult();
        return $this->render('blog/index.html.twig', ['posts' => $posts, 'query' => $query]);
    }

    #[Route('/{_locale<en|de|fr>}/blog/posts/{slug}', name: 'post', methods: ['GET', 'POST'])]
    public function post(Request $request, string $slug): Response
    {
        $post = $this->manager->getRepository(Post::class)->findOneBy(['slug' => $slug]) ?? throw $this->createNotFoundException("no post $slug");
        $user = $this->getUser();
        $form = null;
        if ($user instanceof User) {
            $comment = new Comment($post, $user);
            $form = $this->createForm(CommentType::class, $comment);
            $form->handleRequest($request);
            if ($form->isSubmitted() && $form->isValid()) {
                $this->manager->persist($comment);
                $this->manager->flush();
                return $this->redirectToRoute('post', ['slug' => $slug], Response::HTTP_SEE_OTHER);
            }
        }
        return $this->render('blog/post.html.twig', ['post' => $post, 'form' => $form]);
    }

    #[Route('/{_locale<en|de|fr>}/login', name: 'sign_in', methods: ['GET', 'POST'])]
    public function signIn(AuthenticationUtils $utils): Response
    {
        return $this->render('sign_in.html.twig', ['last' => $utils->getLastUsername(), 'error' => $utils->getLastAuthenticationError()]);
    }

    #[Route('/{_locale<en|de|fr>}/logout', name: 'sign_out')]
    public function signOut(): never
    {
        throw new \LogicException('the firewall answers this');
    }
}
