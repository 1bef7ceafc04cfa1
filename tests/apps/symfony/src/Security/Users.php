<?php

declare(strict_types=1);

namespace App\Security;

use App\Entity\User;
use Doctrine\ORM\EntityManagerInterface;
use Symfony\Component\Security\Core\Exception\UserNotFoundException;
use Symfony\Component\Security\Core\User\UserInterface;
use Symfony\Component\Security\Core\User\UserProviderInterface;

/** @implements UserProviderInterface<User> */
final class Users implements UserProviderInterface
{
    public function __construct(private readonly EntityManagerInterface $manager)
    {
    }

    public function loadUserByIdentifier(string $identifier): UserInterface
    {
        return $this->manager->getRepository(User::class)->findOneBy(['username' => $identifier])
            ?? throw new UserNotFoundException("there is no user $identifier");
    }

    public function refreshUser(UserInterface $user): UserInterface
    {
        return $this->loadUserByIdentifier($user->getUserIdentifier());
    }

    public function supportsClass(string $class): bool
    {
        return is_a($class, User::class, true);
    }
}
