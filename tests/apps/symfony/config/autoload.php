<?php

declare(strict_types=1);

// Debian's packages bring an autoloader each.
foreach (['Symfony/Bundle/FrameworkBundle', 'Symfony/Bundle/SecurityBundle', 'Symfony/Bundle/TwigBundle', 'Symfony/Bridge/Twig',
    'Symfony/Component/Form', 'Symfony/Component/Validator', 'Symfony/Component/Yaml', 'Symfony/Component/Console',
    'Symfony/Component/Security/Csrf', 'Symfony/Component/Translation', 'Symfony/Component/VarExporter',
    'Symfony/Component/PropertyAccess', 'Doctrine/ORM'] as $package) {
    require_once "/usr/share/php/$package/autoload.php";
}
if (!class_exists(Composer\InstalledVersions::class)) {
    require __DIR__ . '/InstalledVersions.php';
}
spl_autoload_register(static function (string $class): void {
    $file = dirname(__DIR__) . '/src/' . str_replace('\\', '/', substr($class, 4)) . '.php';
    if (str_starts_with($class, 'App\\') && is_file($file)) {
        require $file;
    }
});
