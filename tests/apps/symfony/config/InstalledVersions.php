<?php

declare(strict_types=1);

namespace Composer;

/** Symfony asks Composer which packages are for development only; of Debian's packages none is known to it. */
final class InstalledVersions
{
    public static function isInstalled(string $package, bool $includeDevRequirements = true): bool
    {
        return false;
    }

    /** @return array{name: string} */
    public static function getRootPackage(): array
    {
        return ['name' => 'app'];
    }
}
