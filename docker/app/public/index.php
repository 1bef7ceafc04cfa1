<?php

/*
 * Front controller: every path that is not a file in this folder ends up here.
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

(new Notejam\App(Notejam\Config::fromEnvironment()))->run();
