<?php

declare(strict_types=1);

namespace App;

use Doctrine\ORM\EntityManagerInterface;
use Symfony\Bundle\FrameworkBundle\FrameworkBundle;
use Symfony\Bundle\FrameworkBundle\Kernel\MicroKernelTrait;
use Symfony\Bundle\SecurityBundle\SecurityBundle;
use Symfony\Bundle\TwigBundle\TwigBundle;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
use Symfony\Component\HttpKernel\Kernel as BaseKernel;
use Symfony\Component\Routing\Loader\Configurator\RoutingConfigurator;
use Symfony\Component\Security\Core\User\PasswordAuthenticatedUserInterface;

final class Kernel extends BaseKernel
{
    use MicroKernelTrait;

    public function registerBundles(): iterable
    {
        return [new FrameworkBundle(), new SecurityBundle(), new TwigBundle()];
    }

    public function getProjectDir(): string
    {
        return dirname(__DIR__);
    }

    private function configureContainer(ContainerConfigurator $container): void
    {
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
            'session' => [
                // In the database, so that it moves with the database: nobody is signed out by a rollout. Without the
                // lock, which would hold SQLite's only write lock for as long as the request takes.
                'handler_id' => 'sqlite://localhost/' . Database::path() . '?lock_mode=0',
                'cookie_secure' => 'auto',
                'cookie_samesite' => 'lax',
                'storage_factory_id' => 'session.storage.factory.native',
            ],
        ]);
        $container->parameters()->set('env(APP_SECRET)', 'only-for-tests');
        $container->extension('twig', ['default_path' => '%kernel.project_dir%/templates', 'strict_variables' => true]);
        $container->extension('security', [
            'password_hashers' => [PasswordAuthenticatedUserInterface::class => 'auto'],
            'providers' => ['users' => ['id' => Security\Users::class]],
            'firewalls' => ['main' => [
                'lazy' => true,
                'provider' => 'users',
                'form_login' => ['login_path' => 'sign_in', 'check_path' => 'sign_in', 'enable_csrf' => true, 'default_target_path' => 'blog'],
                'logout' => ['path' => 'sign_out', 'target' => 'blog'],
            ]],
            'access_control' => [['path' => '^/[a-z]{2}/admin', 'roles' => 'ROLE_ADMIN']],
        ]);
        $services = $container->services()->defaults()->autowire()->autoconfigure();
        $services->load('App\\', '../src/')->exclude(['../src/Kernel.php', '../src/Entity/', '../src/Database.php']);
        $services->set(EntityManagerInterface::class)->factory([Database::class, 'open'])->lazy(false);
    }

    private function configureRoutes(RoutingConfigurator $routes): void
    {
        $routes->import('../src/Controller/', 'attribute');
    }
}
