<?php

declare(strict_types=1);

// One class, one file, one folder: Notejam\Router is src/Router.php.
spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'Notejam\\')) {
        require __DIR__ . '/' . substr($class, 8) . '.php';
    }
});
