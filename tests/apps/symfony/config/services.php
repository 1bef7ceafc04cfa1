<?php

use App\Database;
use Doctrine\ORM\EntityManagerInterface;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;

return static function (ContainerConfigurator $container): void {
    $services = $container->services()->defaults()->autowire()->autoconfigure();
    $services->load('App\\', '../src/')->exclude(['../src/Kernel.php', '../src/Entity/', '../src/Database.php']);
    $services->set(EntityManagerInterface::class)->factory([Database::class, 'open'])->lazy(false);
};
