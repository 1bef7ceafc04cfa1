<?php

declare(strict_types=1);

namespace Notejam;

/**
 * The database cannot serve now: 503 with Retry-After. The message goes to the log (it may
 * hold paths), the notice to the visitor.
 */
final class Unavailable extends \Exception
{
    public function __construct(
        string $message,
        public readonly string $notice,
        /** Seconds. */
        public readonly int $retryAfter,
        ?\Throwable $previous = null,
    ) {
        parent::__construct($message, 0, $previous);
    }
}
