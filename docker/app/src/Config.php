<?php

declare(strict_types=1);

namespace Notejam;

/**
 * What the environment says. Under php-fpm, variables reach PHP with `clear_env = no`,
 * `env[NAME] = …` in the pool, or as FastCGI parameters; getenv() sees all three.
 */
final class Config
{
    public const DATABASE = '/app/data/database.sqlite';

    private function __construct(
        public readonly string $database,
        /** Name of this instance: printable ASCII, safe in a header. */
        public readonly string $instance,
        /** `log`, `sendmail` or `file:DIR`. */
        public readonly string $mail,
        /** Public address without trailing slash, or ''. */
        public readonly string $url,
        public readonly bool $writesApi,
    ) {
    }

    public static function fromEnvironment(): self
    {
        $instance = self::variable('NOTEJAM_INSTANCE', (string) gethostname());
        return new self(
            self::variable('NOTEJAM_DATABASE', self::DATABASE),
            substr((string) preg_replace('/[^\x21-\x7e]/', '?', $instance), 0, 128),
            self::variable('NOTEJAM_MAIL', 'log'),
            rtrim(self::variable('NOTEJAM_URL', ''), '/'),
            self::variable('NOTEJAM_WRITES_API', '0') === '1',
        );
    }

    /** An empty variable counts as unset. */
    private static function variable(string $name, string $default): string
    {
        $value = getenv($name);
        return $value === false || $value === '' ? $default : $value;
    }
}
