<?php

declare(strict_types=1);

namespace App;

use Doctrine\DBAL\DriverManager;
use Doctrine\ORM\EntityManager;
use Doctrine\ORM\EntityManagerInterface;
use Doctrine\ORM\ORMSetup;

/** Doctrine without its bundle, which Debian does not have. */
final class Database
{
    public static function path(): string
    {
        $path = preg_replace('#^sqlite:///#', '', (string) ($_SERVER['DATABASE_URL'] ?? ''));
        return str_replace('%kernel.project_dir%', dirname(__DIR__), $path) ?: '/app/data/database.sqlite';
    }

    public static function open(?string $file = null): EntityManagerInterface
    {
        $config = ORMSetup::createAttributeMetadataConfiguration([__DIR__ . '/Entity'], false, sys_get_temp_dir());
        $config->setAutoGenerateProxyClasses(\Doctrine\ORM\Proxy\ProxyFactory::AUTOGENERATE_FILE_NOT_EXISTS);
        $connection = DriverManager::getConnection(['driver' => 'pdo_sqlite', 'path' => $file ?? self::path()], $config);
        // The time-out comes first: synchronous = FULL makes an acknowledged write survive a crash.
        $connection->executeStatement('PRAGMA busy_timeout = 5000');
        $connection->executeStatement('PRAGMA synchronous = FULL');
        $connection->executeStatement('PRAGMA foreign_keys = ON');
        return new EntityManager($connection, $config);
    }
}
