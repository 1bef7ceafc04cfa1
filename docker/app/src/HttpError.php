<?php

declare(strict_types=1);

namespace Notejam;

/** Ends a page early with a status; the message is shown to the visitor. */
final class HttpError extends \Exception
{
    /** @param array<string, string> $headers */
    public function __construct(
        public readonly int $status,
        string $message,
        public readonly array $headers = [],
    ) {
        parent::__construct($message);
    }

    public static function notFound(): self
    {
        return new self(404, 'There is nothing at this address.');
    }

    public static function tooMany(int $seconds): self
    {
        $minutes = (int) ceil($seconds / 60);
        return new self(
            429,
            "Too many attempts. Try again in $minutes " . ($minutes === 1 ? 'minute' : 'minutes') . '.',
            ['Retry-After' => (string) $seconds],
        );
    }
}
