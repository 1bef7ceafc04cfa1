<?php

declare(strict_types=1);

namespace Notejam;

/** The request as the pages see it: strings only, never arrays, never invalid UTF-8. */
final class Request
{
    /** @param array<mixed> $query @param array<mixed> $form @param array<mixed> $cookies @param array<mixed> $server */
    public function __construct(
        public readonly string $method,
        /** Raw path as sent, without the query string; percent-encoding is left alone. */
        public readonly string $path,
        /** Raw query string without `?`, or ''. */
        public readonly string $queryString,
        private readonly array $query,
        private readonly array $form,
        private readonly array $cookies,
        private readonly array $server,
    ) {
    }

    public static function fromGlobals(): self
    {
        $target = (string) ($_SERVER['REQUEST_URI'] ?? '/');
        // RFC 9112 §3.2.2: the absolute form is allowed to any server.
        $target = (string) preg_replace('~^https?://[^/?]*~i', '', $target, 1);
        [$path, $queryString] = explode('?', $target, 2) + [1 => ''];
        return new self(
            (string) ($_SERVER['REQUEST_METHOD'] ?? 'GET'),
            $path === '' ? '/' : $path,
            $queryString,
            $_GET,
            $_POST,
            $_COOKIE,
            $_SERVER,
        );
    }

    public function query(string $name): string
    {
        return self::text($this->query[$name] ?? '');
    }

    public function form(string $name): string
    {
        return self::text($this->form[$name] ?? '');
    }

    public function cookie(string $name): string
    {
        return self::text($this->cookies[$name] ?? '');
    }

    /** A header by its CGI name, e.g. `HTTP_SEC_FETCH_SITE`, or another CGI variable. */
    public function server(string $name): string
    {
        return self::text($this->server[$name] ?? '');
    }

    /** Method for the choice of a page: HEAD is a GET whose body is not sent. */
    public function verb(): string
    {
        return $this->method === 'HEAD' ? 'GET' : $this->method;
    }

    public function isApi(): bool
    {
        return str_starts_with($this->path, '/api/');
    }

    public function isHttps(): bool
    {
        return !in_array(strtolower($this->server('HTTPS')), ['', 'off'], true)
            || $this->server('REQUEST_SCHEME') === 'https';
    }

    /** True when PHP threw the form away because it is above post_max_size. */
    public function isTruncated(): bool
    {
        $limit = self::bytes((string) ini_get('post_max_size'));
        return $limit > 0 && $this->form === [] && (int) $this->server('CONTENT_LENGTH') > $limit;
    }

    /** `8M` → 8388608 (ini_parse_quantity() came with PHP 8.2). */
    private static function bytes(string $quantity): int
    {
        $shift = ['k' => 10, 'm' => 20, 'g' => 30][strtolower(substr($quantity, -1))] ?? 0;
        return (int) $quantity << $shift;
    }

    private static function text(mixed $value): string
    {
        return is_string($value) && preg_match('//u', $value) === 1 ? $value : '';
    }
}
