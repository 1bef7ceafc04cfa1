<?php

declare(strict_types=1);

namespace Notejam;

/**
 * PHP's sessions in the table `sessions`, so that they go wherever the database goes. Only
 * sessions of signed-in users are kept. A session that was deleted meanwhile (signed out,
 * password changed) is not written again by a request that had read it before.
 */
final class SessionStore implements
    \SessionHandlerInterface,
    \SessionIdInterface,
    \SessionUpdateTimestampHandlerInterface
{
    /** A session ends when it was idle for 14 days (milliseconds). */
    private const LIFETIME = 14 * 86_400_000;
    /** The end is moved on at most once an hour: most requests write nothing. */
    private const TOUCH = 3_600_000;
    /** Most expired rows removed in one go. */
    private const GC_BATCH = 1000;

    /** @var array<string, array<string, mixed>|null> rows read in this request, by hash */
    private array $rows = [];

    public function __construct(private readonly Database $database)
    {
    }

    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        return true;
    }

    public function create_sid(): string
    {
        return bin2hex(random_bytes(32));
    }

    public function validateId(string $id): bool
    {
        return $this->find($id) !== null;
    }

    public function read(string $id): string
    {
        return (string) ($this->find($id)['data'] ?? '');
    }

    public function write(string $id, string $data): bool
    {
        $user = (int) ($_SESSION['user_id'] ?? 0);
        if ($user === 0) {
            return true;
        }
        $now = Database::now();
        $hash = self::hash($id);
        if ($this->find($id) !== null) {
            $this->database->change(
                'UPDATE sessions SET user_id = ?, data = ?, updated_at = ?, expires_at = ? WHERE id_hash = ?',
                [$user, $data, $now, $now + self::LIFETIME, $hash],
            );
        } else {
            $this->database->change(
                'INSERT INTO sessions (id_hash, user_id, data, created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
                [$hash, $user, $data, $now, $now, $now + self::LIFETIME],
            );
        }
        return true;
    }

    /** Called instead of write() when the data did not change. */
    public function updateTimestamp(string $id, string $data): bool
    {
        $row = $this->find($id);
        $now = Database::now();
        if ($row === null || $now - $row['updated_at'] < self::TOUCH) {
            return true;
        }
        try {
            $this->database->change(
                'UPDATE sessions SET updated_at = ?, expires_at = ? WHERE id_hash = ?',
                [$now, $now + self::LIFETIME, self::hash($id)],
            );
        } catch (Unavailable) {
            // A page that only reads must not fail because the session could not be prolonged.
        }
        return true;
    }

    public function destroy(string $id): bool
    {
        $this->database->change('DELETE FROM sessions WHERE id_hash = ?', [self::hash($id)]);
        unset($this->rows[self::hash($id)]);
        return true;
    }

    public function gc(int $max_lifetime): int|false
    {
        try {
            return $this->database->change(
                'DELETE FROM sessions WHERE id_hash IN (SELECT id_hash FROM sessions WHERE expires_at <= ? LIMIT ?)',
                [Database::now(), self::GC_BATCH],
            );
        } catch (Unavailable) {
            return 0; // the next one will do
        }
    }

    /** Ends all sessions of a user but the one with the given id ('' for none). */
    public function destroyOthers(int $user, string $id): void
    {
        $this->database->change(
            'DELETE FROM sessions WHERE user_id = ? AND id_hash <> ?',
            [$user, self::hash($id)],
        );
    }

    /** @return array<string, mixed>|null */
    private function find(string $id): ?array
    {
        if (preg_match('/^[0-9a-f]{64}$/D', $id) !== 1) {
            return null;
        }
        $hash = self::hash($id);
        if (!array_key_exists($hash, $this->rows)) {
            $this->rows[$hash] = $this->database->row(
                'SELECT data, updated_at FROM sessions WHERE id_hash = ? AND expires_at > ?',
                [$hash, Database::now()],
            );
        }
        return $this->rows[$hash];
    }

    private static function hash(string $id): string
    {
        return hash('sha256', $id);
    }
}
