<?php

declare(strict_types=1);

namespace Notejam;

use PDOException;

/** Accounts and passwords. E-mail addresses are kept in lower case and compared so. */
final class Users
{
    public const PASSWORD_MIN = 6;
    /** Bytes: bcrypt ignores what follows. */
    public const PASSWORD_MAX = 72;
    private const EMAIL_MAX = 254;

    public function __construct(private readonly Database $database)
    {
    }

    public static function normalize(string $email): string
    {
        return strtolower(trim($email));
    }

    public static function isEmail(string $email): bool
    {
        return strlen($email) <= self::EMAIL_MAX && filter_var($email, FILTER_VALIDATE_EMAIL) !== false;
    }

    /** @return string|null what is wrong with a new password */
    public static function passwordFault(string $password): ?string
    {
        return match (true) {
            $password === '' => 'This field is required.',
            (int) preg_match_all('/./us', $password) < self::PASSWORD_MIN => 'Use at least ' . self::PASSWORD_MIN . ' characters.',
            strlen($password) > self::PASSWORD_MAX => 'Use at most ' . self::PASSWORD_MAX . ' bytes.',
            str_contains($password, "\0") => 'This character is not allowed.',
            default => null,
        };
    }

    /** @return array{id: int, email: string}|null */
    public function find(int $id): ?array
    {
        return $this->database->row('SELECT id, email FROM users WHERE id = ?', [$id]);
    }

    /** @return array{id: int, email: string}|null */
    public function findByEmail(string $email): ?array
    {
        return $this->database->row('SELECT id, email FROM users WHERE email = ?', [$email]);
    }

    /** @return int|null the new user's id; null when the address is taken */
    public function create(string $email, string $password): ?int
    {
        $hash = self::hash($password);
        try {
            return $this->database->insert(
                'INSERT INTO users (email, password_hash, created_at) VALUES (?, ?, ?)',
                [$email, $hash, Database::now()],
            );
        } catch (PDOException $e) {
            if (Database::isConstraint($e)) {
                return null;
            }
            throw $e;
        }
    }

    /** @return int|null the user's id when address and password are right */
    public function authenticate(string $email, string $password): ?int
    {
        $user = $this->database->row('SELECT id, password_hash FROM users WHERE email = ?', [$email]);
        if ($user === null) {
            // As long as a wrong password takes, so that the time does not tell who has an account.
            self::hash(str_replace("\0", '', $password));
            return null;
        }
        if (!password_verify($password, $user['password_hash'])) {
            return null;
        }
        if (password_needs_rehash($user['password_hash'], PASSWORD_DEFAULT)) {
            $this->setPasswordHash($user['id'], self::hash($password));
        }
        return $user['id'];
    }

    public function isPassword(int $id, string $password): bool
    {
        $user = $this->database->row('SELECT password_hash FROM users WHERE id = ?', [$id]);
        return $user !== null && password_verify($password, $user['password_hash']);
    }

    /** Hashing takes a good part of a second by design: do it before a write transaction, not in it. */
    public static function hash(string $password): string
    {
        return password_hash($password, PASSWORD_DEFAULT);
    }

    public function setPasswordHash(int $id, string $hash): void
    {
        $this->database->change('UPDATE users SET password_hash = ? WHERE id = ?', [$hash, $id]);
    }
}
