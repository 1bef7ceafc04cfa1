<?php

declare(strict_types=1);

namespace Notejam;

use PDO;
use PDOException;
use PDOStatement;

/**
 * The SQLite database of one request: opened at first use, closed with the request, never
 * created. Failures of the storage (lock, read-only, missing, full…) come out as Unavailable,
 * mistakes in SQL as PDOException.
 */
final class Database
{
    /** How long a statement waits for another writer, in seconds. */
    private const BUSY_TIMEOUT = 5;

    // Primary result codes, https://www.sqlite.org/rescode.html
    private const BUSY = 5;
    private const LOCKED = 6;
    private const READONLY = 8;
    private const CONSTRAINT = 19;
    private const STORAGE_FAULTS = [
        self::BUSY => 'is locked by another writer',
        self::LOCKED => 'is locked by another writer',
        self::READONLY => 'is read-only',
        10 => 'gave an I/O error',
        11 => 'is damaged',
        13 => 'cannot grow: the disk is full',
        14 => 'cannot be opened',
        26 => 'is not an SQLite database',
    ];

    private ?PDO $pdo = null;

    public function __construct(private readonly string $path)
    {
    }

    /** Milliseconds since 1970, the unit of all *_at columns. */
    public static function now(): int
    {
        return (int) (microtime(true) * 1000);
    }

    /** @throws Unavailable unless the file is there with the schema of this code */
    public function require(): void
    {
        $this->pdo();
    }

    /** @param array<mixed> $parameters @return array<string, mixed>|null the first row */
    public function row(string $sql, array $parameters = []): ?array
    {
        $row = $this->run($sql, $parameters)->fetch();
        return $row === false ? null : $row;
    }

    /** @param array<mixed> $parameters @return list<array<string, mixed>> */
    public function rows(string $sql, array $parameters = []): array
    {
        return $this->run($sql, $parameters)->fetchAll();
    }

    /** @param array<mixed> $parameters first column of the first row as a number; 0 without a row */
    public function number(string $sql, array $parameters = []): int
    {
        return (int) $this->run($sql, $parameters)->fetchColumn();
    }

    /** @param array<mixed> $parameters @return int rows changed */
    public function change(string $sql, array $parameters = []): int
    {
        return $this->run($sql, $parameters)->rowCount();
    }

    /** @param array<mixed> $parameters @return int the new row's id */
    public function insert(string $sql, array $parameters = []): int
    {
        $this->run($sql, $parameters);
        return (int) $this->pdo()->lastInsertId();
    }

    /**
     * Runs $work in one write transaction and returns what it returns. BEGIN IMMEDIATE waits
     * for the write lock at once: a deferred transaction that starts with a read and then
     * writes fails without waiting when somebody else wrote in between.
     *
     * @template T
     * @param callable(): T $work
     * @return T
     */
    public function write(callable $work): mixed
    {
        $this->execute('BEGIN IMMEDIATE');
        try {
            $result = $work();
            $this->execute('COMMIT');
            return $result;
        } catch (\Throwable $e) {
            try {
                $this->pdo()->exec('ROLLBACK');
            } catch (PDOException) {
                // SQLite has rolled back by itself (disk full, I/O error); $e tells the cause.
            }
            throw $e;
        }
    }

    /** A row that exists already, or refers to one that does not. */
    public static function isConstraint(PDOException $e): bool
    {
        return self::code($e) === self::CONSTRAINT;
    }

    /** @param array<mixed> $parameters */
    private function run(string $sql, array $parameters): PDOStatement
    {
        try {
            $statement = $this->pdo()->prepare($sql);
            foreach (array_values($parameters) as $i => $value) {
                // execute($parameters) would bind numbers as text
                $statement->bindValue($i + 1, $value, is_int($value) ? PDO::PARAM_INT : ($value === null ? PDO::PARAM_NULL : PDO::PARAM_STR));
            }
            $statement->execute();
            return $statement;
        } catch (PDOException $e) {
            throw $this->translate($e);
        }
    }

    private function execute(string $sql): void
    {
        try {
            $this->pdo()->exec($sql);
        } catch (PDOException $e) {
            throw $this->translate($e);
        }
    }

    private function pdo(): PDO
    {
        return $this->pdo ??= $this->open();
    }

    private function open(): PDO
    {
        if (!is_file($this->path)) {
            throw new Unavailable("database {$this->path} is missing; create it with bin/migrate", 'The database is not there yet.', 10);
        }
        try {
            $pdo = new PDO('sqlite:' . $this->path, null, null, [
                PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
                PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
                PDO::ATTR_TIMEOUT => self::BUSY_TIMEOUT,
                PDO::SQLITE_ATTR_OPEN_FLAGS => PDO::SQLITE_OPEN_READWRITE,
            ]);
            // FULL: in WAL mode NORMAL does not sync at commit, and an acknowledged write has
            // to survive a crash.
            $pdo->exec('PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL');
            $version = (int) $pdo->query('PRAGMA user_version')->fetchColumn();
        } catch (PDOException $e) {
            throw $this->translate($e);
        }
        if ($version !== Schema::VERSION) {
            throw new Unavailable(
                "database {$this->path} has schema version $version, this code needs " . Schema::VERSION
                . ($version < Schema::VERSION ? '; upgrade it with bin/migrate' : '; it was made by a newer release'),
                'The database and this release do not fit together yet.',
                10,
            );
        }
        return $pdo;
    }

    private function translate(PDOException $e): PDOException|Unavailable
    {
        $fault = self::STORAGE_FAULTS[self::code($e)] ?? null;
        if ($fault === null) {
            return $e;
        }
        return new Unavailable(
            "database {$this->path} $fault: {$e->getMessage()}",
            'The database cannot take this request at the moment. Nothing was saved.',
            2,
            $e,
        );
    }

    /** Extended codes keep the primary one in the low byte. */
    private static function code(PDOException $e): int
    {
        return (int) ($e->errorInfo[1] ?? $e->getCode()) & 0xff;
    }
}
