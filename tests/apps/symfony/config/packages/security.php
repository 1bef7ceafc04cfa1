<?php

use App\Security\Users;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
use Symfony\Component\Security\Core\User\PasswordAuthenticatedUserInterface;

return static function (ContainerConfigurator $container): void {
    $container->extension('security', [
        'password_hashers' => [PasswordAuthenticatedUserInterface::class => 'auto'],
        'providers' => ['users' => ['id' => Users::class]],
        'firewalls' => ['main' => [
            'lazy' => true,
            'provider' => 'users',
            'form_login' => ['login_path' => 'sign_in', 'check_path' => 'sign_in', 'enable_csrf' => true, 'default_target_path' => 'blog'],
            'remember_me' => ['secret' => '%kernel.secret%', 'lifetime' => 604800],
            'logout' => ['path' => 'sign_out', 'target' => 'blog'],
        ]],
        'access_control' => [['path' => '^/[a-z]{2}/admin', 'roles' => 'ROLE_ADMIN']],
    ]);
};
