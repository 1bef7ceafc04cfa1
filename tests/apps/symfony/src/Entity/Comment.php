<?php

declare(strict_types=1);

namespace App\Entity;

use Doctrine\ORM\Mapping as ORM;
use Symfony\Component\Validator\Constraints as Assert;

#[ORM\Entity]
#[ORM\Table('comment')]
class Comment
{
    #[ORM\Id, ORM\GeneratedValue, ORM\Column]
    private ?int $id = null;

    #[ORM\Column(type: 'datetime_immutable')]
    private \DateTimeImmutable $publishedAt;

    public function __construct(
        #[ORM\ManyToOne(targetEntity: Post::class, inversedBy: 'comments'), ORM\JoinColumn(nullable: false)] private Post $post,
        #[ORM\ManyToOne(targetEntity: User::class, fetch: 'EAGER'), ORM\JoinColumn(nullable: false)] private User $author,
        #[ORM\Column(type: 'text'), Assert\NotBlank, Assert\Length(min: 5, max: 10000)] public string $content = '',
    ) {
        $this->publishedAt = new \DateTimeImmutable();
    }

    public function getId(): ?int
    {
        return $this->id;
    }

    public function getPost(): Post
    {
        return $this->post;
    }

    public function getAuthor(): User
    {
        return $this->author;
    }

    public function getPublishedAt(): \DateTimeImmutable
    {
        return $this->publishedAt;
    }
}
