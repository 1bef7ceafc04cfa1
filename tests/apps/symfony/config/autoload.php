<?php

declare(strict_types=1);

// The packages: of vendor/ where there is one, else Debian's, which bring an autoloader each.
$php = is_dir(dirname(__DIR__) . '/vendor/php') ? dirname(__DIR__) . '/vendor/php' : '/usr/share/php';
set_include_path($php);
// Composer's, where there is one: only with it Symfony lists what OPcache may preload.
if (is_file(dirname(__DIR__) . '/vendor/autoload.php')) {
    require_once dirname(__DIR__) . '/vendor/autoload.php';
}
foreach (['Symfony/Bundle/FrameworkBundle', 'Symfony/Bundle/SecurityBundle', 'Symfony/Bundle/TwigBundle', 'Symfony/Bridge/Twig',
    'Symfony/Component/Form', 'Symfony/Component/Validator', 'Symfony/Component/Yaml', 'Symfony/Component/Console',
    'Symfony/Component/Security/Csrf', 'Symfony/Component/Translation', 'Symfony/Component/VarExporter',
    'Symfony/Component/PropertyAccess', 'Symfony/Component/Asset', 'Symfony/Component/AssetMapper', 'Symfony/Component/Dotenv',
    'Doctrine/ORM'] as $package) {
    require_once "$php/$package/autoload.php";
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
(new Symfony\Component\Dotenv\Dotenv())->bootEnv(dirname(__DIR__) . '/.env');
