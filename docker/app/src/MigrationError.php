<?php

declare(strict_types=1);

namespace Notejam;

/** A database that cannot be migrated; the code is the exit status of bin/migrate. */
final class MigrationError extends \Exception
{
    public const FAILED = 1;
    public const TOO_NEW = 3;

    public function __construct(string $message, int $code = self::FAILED, ?\Throwable $previous = null)
    {
        parent::__construct($message, $code, $previous);
    }
}
