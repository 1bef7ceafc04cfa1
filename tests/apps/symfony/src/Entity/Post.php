<?php

declare(strict_types=1);

namespace App\Entity;

use Doctrine\Common\Collections\ArrayCollection;
use Doctrine\Common\Collections\Collection;
use Doctrine\ORM\Mapping as ORM;
use Symfony\Component\String\Slugger\AsciiSlugger;
use Symfony\Component\Validator\Constraints as Assert;

#[ORM\Entity]
#[ORM\Table('post')]
class Post
{
    #[ORM\Id, ORM\GeneratedValue, ORM\Column]
    private ?int $id = null;

    #[ORM\Column(unique: true)]
    private string $slug;

    /** @var Collection<int, Comment> */
    #[ORM\OneToMany(targetEntity: Comment::class, mappedBy: 'post', cascade: ['persist', 'remove'])]
    #[ORM\OrderBy(['id' => 'DESC'])]
    private Collection $comments;

    public function __construct(
        #[ORM\Column, Assert\NotBlank] public string $title,
        #[ORM\Column, Assert\NotBlank, Assert\Length(max: 255)] public string $summary,
        #[ORM\Column(type: 'text'), Assert\NotBlank, Assert\Length(min: 10)] public string $content,
        #[ORM\ManyToOne(targetEntity: User::class, fetch: 'EAGER'), ORM\JoinColumn(nullable: false)] private User $author,
        #[ORM\Column(type: 'datetime_immutable')] private \DateTimeImmutable $publishedAt = new \DateTimeImmutable(),
    ) {
        $this->comments = new ArrayCollection();
        $this->slug = strtolower((string) (new AsciiSlugger())->slug($title));
    }

    public function comment(Comment $comment): void
    {
        $this->comments->add($comment);
    }

    public function getId(): ?int
    {
        return $this->id;
    }

    public function getSlug(): string
    {
        return $this->slug;
    }

    /** A second post of the same title gets an address of its own. */
    public function number(int $number): void
    {
        $this->slug .= "-$number";
    }

    public function getAuthor(): User
    {
        return $this->author;
    }

    public function getPublishedAt(): \DateTimeImmutable
    {
        return $this->publishedAt;
    }

    /** @return Collection<int, Comment> */
    public function getComments(): Collection
    {
        return $this->comments;
    }
}
