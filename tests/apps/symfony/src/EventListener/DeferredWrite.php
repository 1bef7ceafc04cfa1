<?php

declare(strict_types=1);

namespace App\EventListener;

use Doctrine\ORM\EntityManagerInterface;
use Symfony\Component\EventDispatcher\Attribute\AsEventListener;
use Symfony\Component\HttpKernel\Event\TerminateEvent;

/** A write after the answer: Response::send() has called fastcgi_finish_request() by then. */
#[AsEventListener]
final class DeferredWrite
{
    public const ATTRIBUTE = '_deferred_write';

    public function __construct(private readonly EntityManagerInterface $manager)
    {
    }

    public function __invoke(TerminateEvent $event): void
    {
        $id = $event->getRequest()->attributes->get(self::ATTRIBUTE);
        if ($id !== null) {
            usleep(200_000);
            $this->manager->getConnection()->insert('writes', ['id' => $id, 'at' => (int) (microtime(true) * 1000), 'instance' => (string) gethostname()]);
        }
    }
}
