<?php

declare(strict_types=1);

namespace Notejam;

use PDO;
use PDOException;

/**
 * Creates a database file or brings one to Schema::VERSION. Several may run at once on the
 * same file: a new one is linked into place whole, an old one is changed in one transaction.
 */
final class Migrator
{
    /** How long to wait for writers of a live database, in seconds. */
    private const BUSY_TIMEOUT = 60;

    public function __construct(private readonly string $path, private readonly string $folder)
    {
    }

    /** @return string what was done, for people; '' when there was nothing to do */
    public function migrate(): string
    {
        if (!file_exists($this->path)) {
            if ($this->create()) {
                return 'created at version ' . Schema::VERSION;
            }
            // Another process was faster: look at its file like at any other.
        }
        return $this->upgrade();
    }

    /** Version of the file; reads only. */
    public function version(): int
    {
        if (!file_exists($this->path)) {
            throw new MigrationError("{$this->path}: no such file");
        }
        $pdo = $this->open($this->path, PDO::SQLITE_OPEN_READWRITE);
        return $this->check($pdo);
    }

    /** @return bool false when the file appeared meanwhile */
    private function create(): bool
    {
        foreach (['-wal', '-journal'] as $suffix) {
            if (file_exists($this->path . $suffix) && filesize($this->path . $suffix) > 0) {
                clearstatcache();
                if (file_exists($this->path)) {
                    return false; // made and opened by others since we looked
                }
                throw new MigrationError("{$this->path}$suffix is left from a database that is gone; SQLite would "
                    . 'apply it to the new one. Put the database back, or move this file away');
            }
        }
        $temporary = sprintf('%s.new-%d-%s', $this->path, getmypid(), bin2hex(random_bytes(4)));
        try {
            $pdo = $this->open($temporary, PDO::SQLITE_OPEN_READWRITE | PDO::SQLITE_OPEN_CREATE);
            $pdo->exec('PRAGMA journal_mode = WAL');
            $pdo->exec('BEGIN IMMEDIATE');
            $pdo->exec($this->read($this->folder . '/schema.sql'));
            $this->stamp($pdo, Schema::VERSION);
            $pdo->exec('COMMIT');
            $pdo = null; // closing moves the log into the file and deletes the log
            $this->sync($temporary);
            // link() and not rename(): it never replaces a file that somebody else made.
            if (!@link($temporary, $this->path)) {
                if (file_exists($this->path)) {
                    return false;
                }
                throw new MigrationError("{$this->path}: cannot be linked into place: " . self::lastError());
            }
            $this->sync(dirname($this->path));
            return true;
        } finally {
            $pdo = null;
            foreach (['', '-wal', '-shm', '-journal'] as $suffix) {
                @unlink($temporary . $suffix);
            }
        }
    }

    private function upgrade(): string
    {
        $pdo = $this->open($this->path, PDO::SQLITE_OPEN_READWRITE);
        $this->check($pdo); // before the journal mode changes in a file that is not ours
        $mode = $pdo->query('PRAGMA journal_mode = WAL')->fetchColumn();
        if ($mode !== 'wal') {
            throw new MigrationError("{$this->path}: WAL mode is refused, journal mode stays $mode");
        }
        // Has no effect inside a transaction; a migration may rebuild a table others refer to.
        $pdo->exec('PRAGMA foreign_keys = OFF');
        $pdo->exec('BEGIN IMMEDIATE');
        try {
            $from = $this->check($pdo); // again: another process may have migrated before the lock was ours
            foreach ($this->migrations() as $version => $file) {
                if ($version > $from) {
                    $this->apply($pdo, $file);
                }
            }
            $broken = $pdo->query('PRAGMA foreign_key_check')->fetch();
            if ($broken !== false) {
                throw new MigrationError("{$this->path}: table {$broken['table']} would refer to rows that do not exist");
            }
            if ($from < Schema::VERSION) {
                $this->stamp($pdo, Schema::VERSION);
            }
            $pdo->exec('COMMIT');
        } catch (\Throwable $e) {
            try {
                $pdo->exec('ROLLBACK');
            } catch (PDOException) {
                // already rolled back by SQLite
            }
            throw $e;
        }
        return $from < Schema::VERSION ? "upgraded from version $from to " . Schema::VERSION : '';
    }

    /** Refuses files that are not ours or are newer than the code; returns the version. */
    private function check(PDO $pdo): int
    {
        $version = (int) $pdo->query('PRAGMA user_version')->fetchColumn();
        $application = (int) $pdo->query('PRAGMA application_id')->fetchColumn();
        $tables = (int) $pdo->query('SELECT count(*) FROM sqlite_schema')->fetchColumn();
        if ($application !== Schema::APPLICATION_ID && ($application !== 0 || $version !== 0 || $tables !== 0)) {
            throw new MigrationError("{$this->path} is not a Notejam database (application id $application); nothing was changed");
        }
        if ($version > Schema::VERSION) {
            throw new MigrationError(
                "{$this->path} has schema version $version, this release knows " . Schema::VERSION
                . '; there is no way back, use the newer release or a backup. Nothing was changed',
                MigrationError::TOO_NEW,
            );
        }
        return $version;
    }

    private function apply(PDO $pdo, string $file): void
    {
        try {
            $pdo->exec($this->read($file));
        } catch (PDOException $e) {
            throw new MigrationError(basename($file) . ": {$e->getMessage()}; nothing was changed", previous: $e);
        }
    }

    private function stamp(PDO $pdo, int $version): void
    {
        $pdo->exec('PRAGMA application_id = ' . Schema::APPLICATION_ID);
        $pdo->exec("PRAGMA user_version = $version");
    }

    /** @return array<int, string> version → file, ascending, without gaps, up to Schema::VERSION */
    private function migrations(): array
    {
        $files = [];
        foreach (glob($this->folder . '/migrations/[0-9][0-9][0-9]_*.sql') ?: [] as $file) {
            $files[(int) basename($file)] = $file;
        }
        ksort($files);
        if (array_keys($files) !== range(1, Schema::VERSION)) {
            throw new MigrationError("{$this->folder}/migrations does not hold exactly the versions 1 to " . Schema::VERSION);
        }
        return $files;
    }

    private function open(string $path, int $flags): PDO
    {
        if (!is_dir(dirname($path))) {
            throw new MigrationError(dirname($path) . ': no such folder');
        }
        $pdo = new PDO('sqlite:' . $path, null, null, [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
            PDO::ATTR_TIMEOUT => self::BUSY_TIMEOUT,
            PDO::SQLITE_ATTR_OPEN_FLAGS => $flags,
        ]);
        $pdo->exec('PRAGMA synchronous = FULL');
        return $pdo;
    }

    private function read(string $file): string
    {
        $sql = @file_get_contents($file);
        if ($sql === false) {
            throw new MigrationError("$file cannot be read: " . self::lastError());
        }
        return $sql;
    }

    /** fsync of a file or a folder. */
    private function sync(string $path): void
    {
        $handle = @fopen($path, 'r');
        if ($handle === false || !@fsync($handle)) {
            throw new MigrationError("$path cannot be synced to disk: " . self::lastError());
        }
        fclose($handle);
    }

    private static function lastError(): string
    {
        return error_get_last()['message'] ?? 'unknown error';
    }
}
