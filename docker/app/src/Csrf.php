<?php

declare(strict_types=1);

namespace Notejam;

/**
 * Tokens against forged forms. The secret is in the session of a signed-in user; for an
 * anonymous visitor it is in a cookie (double submit), which needs no row in the database.
 * A token is the secret masked by fresh random bytes, so that compression tells nothing.
 */
final class Csrf
{
    public const FIELD = 'csrf_token';
    public const COOKIE = 'notejam_csrf';

    private ?string $fresh = null;

    public function __construct(private readonly Session $session, private readonly Request $request)
    {
    }

    public function token(): string
    {
        $secret = $this->secret();
        if ($secret === null) {
            $this->fresh = $secret = random_bytes(32);
        }
        $mask = random_bytes(32);
        return bin2hex($mask . ($mask ^ $secret));
    }

    /** @throws HttpError 403 unless the form carries a token of this visitor */
    public function check(): void
    {
        // Browsers that send the header tell about other sites and other ports or subdomains.
        $site = $this->request->server('HTTP_SEC_FETCH_SITE');
        $token = $this->request->form(self::FIELD);
        $secret = $this->secret();
        if (!in_array($site, ['', 'same-origin', 'none'], true) || $secret === null
            || preg_match('/^[0-9a-f]{128}$/D', $token) !== 1
            || !hash_equals($secret, hex2bin(substr($token, 0, 64)) ^ hex2bin(substr($token, 64)))) {
            throw new HttpError(403, 'This form has expired, or did not come from this site. Go back, load the page again and send it once more.');
        }
    }

    /** Hands a new visitor the cookie that goes with the tokens in the page. */
    public function attach(Response $response): void
    {
        if ($this->fresh !== null) {
            $response->withCookie(self::COOKIE, bin2hex($this->fresh));
        }
    }

    /** @return string|null 32 bytes */
    private function secret(): ?string
    {
        if ($this->fresh !== null) {
            return $this->fresh;
        }
        $hex = $this->session->userId() !== null ? $this->session->csrfSecret() : $this->request->cookie(self::COOKIE);
        return preg_match('/^[0-9a-f]{64}$/D', $hex) === 1 ? (string) hex2bin($hex) : null;
    }
}
