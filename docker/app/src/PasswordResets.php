<?php

declare(strict_types=1);

namespace Notejam;

/** One-time tokens for a new password. Only their hashes are stored. */
final class PasswordResets
{
    /** Milliseconds. */
    private const LIFETIME = 3_600_000;

    public function __construct(private readonly Database $database)
    {
    }

    /** @return string the token, 64 hex digits; earlier ones of the user are void */
    public function issue(int $user): string
    {
        $token = bin2hex(random_bytes(32));
        $now = Database::now();
        $this->database->write(function () use ($user, $token, $now): void {
            $this->database->change('DELETE FROM password_resets WHERE user_id = ? OR expires_at <= ?', [$user, $now]);
            $this->database->change(
                'INSERT INTO password_resets (token_hash, user_id, created_at, expires_at) VALUES (?, ?, ?, ?)',
                [hash('sha256', $token), $user, $now, $now + self::LIFETIME],
            );
        });
        return $token;
    }

    /** @return int|null the user for whom the token is good */
    public function find(string $token): ?int
    {
        $row = $this->database->row(
            'SELECT user_id FROM password_resets WHERE token_hash = ? AND expires_at > ?',
            [hash('sha256', $token), Database::now()],
        );
        return $row['user_id'] ?? null;
    }

    /** Voids the user's tokens: inside the transaction that sets the password. */
    public function consume(int $user): void
    {
        $this->database->change('DELETE FROM password_resets WHERE user_id = ?', [$user]);
    }
}
