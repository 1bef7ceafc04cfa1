<?php

use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;

return static function (ContainerConfigurator $container): void {
    $container->extension('framework', [
        'secret' => '%env(APP_SECRET)%',
        'http_method_override' => false,
        'handle_all_throwables' => true,
        'php_errors' => ['log' => true],
        'csrf_protection' => true,
        'form' => true,
        'validation' => ['email_validation_mode' => 'html5'],
        'default_locale' => 'en',
        'set_locale_from_accept_language' => true,
        'enabled_locales' => ['en', 'de', 'fr'],
        'asset_mapper' => ['paths' => ['assets/']],
        // Where they are kept says session.php.
        'session' => ['cookie_secure' => 'auto', 'cookie_samesite' => 'lax'],
    ]);
    $container->extension('twig', ['default_path' => '%kernel.project_dir%/templates', 'strict_variables' => true]);
};
