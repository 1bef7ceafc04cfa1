<?php

declare(strict_types=1);

namespace Notejam;

/** Notes of a user. Each method takes the owner: another user's note is as good as none. */
final class Notes
{
    public const NAME_MAX = 100;
    /** Bytes. */
    public const TEXT_MAX = 262_144;
    public const PER_PAGE = 50;
    public const DEFAULT_ORDER = '-updated_at';

    /** The only texts that get into ORDER BY; the id makes the order total, for paging. */
    private const ORDERS = [
        'name' => 'n.name COLLATE NOCASE ASC, n.id ASC',
        '-name' => 'n.name COLLATE NOCASE DESC, n.id DESC',
        'updated_at' => 'n.updated_at ASC, n.id ASC',
        '-updated_at' => 'n.updated_at DESC, n.id DESC',
    ];

    public function __construct(private readonly Database $database)
    {
    }

    /** An order that does not exist means the default one. */
    public static function order(string $order): string
    {
        return isset(self::ORDERS[$order]) ? $order : self::DEFAULT_ORDER;
    }

    /** @param int|null $pad null: in whatever pad, or none */
    public function count(int $user, ?int $pad): int
    {
        return $pad === null
            ? $this->database->number('SELECT count(*) FROM notes WHERE user_id = ?', [$user])
            : $this->database->number('SELECT count(*) FROM notes WHERE user_id = ? AND pad_id = ?', [$user, $pad]);
    }

    /** @return list<array<string, mixed>> one page of the list, pages count from 1 */
    public function page(int $user, ?int $pad, string $order, int $page): array
    {
        return $this->database->rows(
            'SELECT n.id, n.name, n.updated_at, n.pad_id, p.name AS pad_name FROM notes n LEFT JOIN pads p ON p.id = n.pad_id'
            . ' WHERE n.user_id = ?' . ($pad === null ? '' : ' AND n.pad_id = ?')
            . ' ORDER BY ' . self::ORDERS[self::order($order)] . ' LIMIT ? OFFSET ?',
            [$user, ...($pad === null ? [] : [$pad]), self::PER_PAGE, ($page - 1) * self::PER_PAGE],
        );
    }

    /** @return array<string, mixed> @throws HttpError 404 */
    public function get(int $user, int $id): array
    {
        return $this->database->row(
            'SELECT n.id, n.name, n.text, n.created_at, n.updated_at, n.pad_id, p.name AS pad_name'
            . ' FROM notes n LEFT JOIN pads p ON p.id = n.pad_id WHERE n.id = ? AND n.user_id = ?',
            [$id, $user],
        ) ?? throw HttpError::notFound();
    }

    public function create(int $user, ?int $pad, string $name, string $text): int
    {
        $now = Database::now();
        return $this->database->insert(
            'INSERT INTO notes (user_id, pad_id, name, text, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)',
            [$user, $pad, $name, $text, $now, $now],
        );
    }

    public function update(int $user, int $id, ?int $pad, string $name, string $text): void
    {
        $this->database->change(
            'UPDATE notes SET pad_id = ?, name = ?, text = ?, updated_at = ? WHERE id = ? AND user_id = ?',
            [$pad, $name, $text, Database::now(), $id, $user],
        );
    }

    public function delete(int $user, int $id): void
    {
        $this->database->change('DELETE FROM notes WHERE id = ? AND user_id = ?', [$id, $user]);
    }
}
