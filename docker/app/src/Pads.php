<?php

declare(strict_types=1);

namespace Notejam;

/** Pads of a user. Each method takes the owner: another user's pad is as good as none. */
final class Pads
{
    public const NAME_MAX = 100;
    public const MAX_PER_USER = 500;

    public function __construct(private readonly Database $database)
    {
    }

    /** @return list<array{id: int, name: string}> by name */
    public function all(int $user): array
    {
        return $this->database->rows(
            'SELECT id, name FROM pads WHERE user_id = ? ORDER BY name COLLATE NOCASE, id',
            [$user],
        );
    }

    /** @return array{id: int, name: string} @throws HttpError 404 */
    public function get(int $user, int $id): array
    {
        return $this->database->row('SELECT id, name FROM pads WHERE id = ? AND user_id = ?', [$id, $user])
            ?? throw HttpError::notFound();
    }

    /** @return int|null null when the user has MAX_PER_USER pads already */
    public function create(int $user, string $name): ?int
    {
        return $this->database->write(function () use ($user, $name): ?int {
            if ($this->database->number('SELECT count(*) FROM pads WHERE user_id = ?', [$user]) >= self::MAX_PER_USER) {
                return null;
            }
            $now = Database::now();
            return $this->database->insert(
                'INSERT INTO pads (user_id, name, created_at, updated_at) VALUES (?, ?, ?, ?)',
                [$user, $name, $now, $now],
            );
        });
    }

    public function rename(int $user, int $id, string $name): void
    {
        $this->database->change(
            'UPDATE pads SET name = ?, updated_at = ? WHERE id = ? AND user_id = ?',
            [$name, Database::now(), $id, $user],
        );
    }

    /** The notes in it go with it (ON DELETE CASCADE). */
    public function delete(int $user, int $id): void
    {
        $this->database->change('DELETE FROM pads WHERE id = ? AND user_id = ?', [$id, $user]);
    }
}
