<?php

declare(strict_types=1);

namespace Notejam;

/**
 * Counts attempts by subject in a sliding window. In the database, so that neither a restart
 * nor a hand-over resets it. Subjects are hashed: a table of who failed to sign in where is
 * nobody's business.
 */
final class Throttle
{
    /** Seconds. */
    private const WINDOW = 900;
    private const PRUNE_BATCH = 1000;

    public function __construct(private readonly Database $database)
    {
    }

    /** @return int seconds until another attempt is allowed; 0 when it is now */
    public function wait(string $subject, int $limit): int
    {
        $now = Database::now();
        // The limit-th newest attempt has to leave the window first.
        $row = $this->database->row(
            'SELECT at FROM attempts WHERE subject = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?',
            [self::key($subject), $now - self::WINDOW * 1000, $limit - 1],
        );
        return $row === null ? 0 : max(1, (int) ceil(($row['at'] + self::WINDOW * 1000 - $now) / 1000));
    }

    public function record(string ...$subjects): void
    {
        $now = Database::now();
        $this->database->write(function () use ($subjects, $now): void {
            foreach ($subjects as $subject) {
                $this->database->change('INSERT INTO attempts (subject, at) VALUES (?, ?)', [self::key($subject), $now]);
            }
            $this->database->change(
                'DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE at <= ? LIMIT ?)',
                [$now - self::WINDOW * 1000, self::PRUNE_BATCH],
            );
        });
    }

    public function forget(string $subject): void
    {
        // Look first: a delete of nothing would still take the write lock.
        if ($this->wait($subject, 1) > 0) {
            $this->database->change('DELETE FROM attempts WHERE subject = ?', [self::key($subject)]);
        }
    }

    private static function key(string $subject): string
    {
        return hash('sha256', $subject);
    }
}
