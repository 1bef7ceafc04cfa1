<?php

use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;

// In the database, so that they move with it: nobody is signed out by a rollout. Without the lock, which would hold
// SQLite's only write lock for as long as the request takes.
return static function (ContainerConfigurator $container): void {
    $container->extension('framework', ['session' => ['handler_id' => 'sqlite://localhost/' . App\Database::path() . '?lock_mode=0']]);
};
