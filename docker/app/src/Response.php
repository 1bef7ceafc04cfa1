<?php

declare(strict_types=1);

namespace Notejam;

/** Status, headers and the whole body; nothing reaches the client before send(). */
final class Response
{
    /** @var array<string, string> */
    private array $headers = [];

    /** @var array<string, array{string, int}> name → value, expiry (0: with the browser) */
    private array $cookies = [];

    private function __construct(public readonly int $status, private readonly string $body)
    {
    }

    public static function html(string $body, int $status = 200): self
    {
        return (new self($status, $body))
            ->with('Content-Type', 'text/html; charset=utf-8')
            // form-action also covers the redirect after a form; nothing is loaded from elsewhere.
            ->with('Content-Security-Policy', "default-src 'none'; style-src 'self'; img-src 'self'; "
                . "form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
    }

    /** @param array<string, mixed> $value */
    public static function json(array $value, int $status = 200): self
    {
        return (new self($status, json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES) . "\n"))
            ->with('Content-Type', 'application/json');
    }

    /** $path is a path on this host, safe as it stands: see Router::safeNext(). */
    public static function redirect(string $path, int $status = 302): self
    {
        return (new self($status, ''))->with('Location', $path)->with('Content-Type', 'text/plain; charset=utf-8');
    }

    /** @return $this */
    public function with(string $name, string $value): self
    {
        $this->headers[$name] = $value;
        return $this;
    }

    /** @return $this */
    public function withCookie(string $name, string $value, int $expires = 0): self
    {
        $this->cookies[$name] = [$value, $expires];
        return $this;
    }

    /** @return $this */
    public function withoutCookie(string $name): self
    {
        return $this->withCookie($name, '', 1);
    }

    public function send(bool $withBody, bool $secureCookies): void
    {
        http_response_code($this->status);
        header_remove('X-Powered-By');
        $common = [
            'X-Content-Type-Options' => 'nosniff',
            'Referrer-Policy' => 'same-origin',
            'Cache-Control' => 'no-store',
            'Content-Length' => (string) strlen($this->body),
        ];
        foreach ($this->headers + $common as $name => $value) {
            header($name . ': ' . $value);
        }
        foreach ($this->cookies as $name => [$value, $expires]) {
            setcookie($name, $value, self::cookieOptions($secureCookies) + ['expires' => $expires]);
        }
        if ($withBody) {
            echo $this->body;
        }
    }

    /** @return array{path: string, secure: bool, httponly: bool, samesite: string} */
    public static function cookieOptions(bool $secure): array
    {
        return ['path' => '/', 'secure' => $secure, 'httponly' => true, 'samesite' => 'Lax'];
    }
}
