<?php

declare(strict_types=1);

namespace Notejam;

/**
 * Sends the one mail there is. NOTEJAM_MAIL: `log` (no mail; the log tells that one was asked
 * for, never the link), `sendmail` (PHP's mail()), `file:DIR` (a file for each mail).
 */
final class Mailer
{
    public function __construct(private readonly Config $config, private readonly Request $request)
    {
    }

    public function sendReset(string $email, string $token): void
    {
        error_log('notejam: a password reset was asked for, delivery by ' . strtok($this->config->mail, ':'));
        if ($this->config->mail === 'log') {
            return;
        }
        $subject = 'Notejam: set a new password';
        $text = "Somebody, hopefully you, asked for a new password for Notejam.\r\n\r\n"
            . "Set it here within one hour:\r\n\r\n" . $this->base() . "/reset-password/$token/\r\n\r\n"
            . "If it was not you, ignore this mail: nothing has changed.\r\n";
        if (str_starts_with($this->config->mail, 'file:')) {
            $this->store(substr($this->config->mail, 5), "To: $email\r\nSubject: $subject\r\n\r\n$text");
        } elseif ($this->config->mail === 'sendmail') {
            // The address passed FILTER_VALIDATE_EMAIL: no line break can get into the headers.
            if (!mail($email, $subject, $text, ['Content-Type' => 'text/plain; charset=utf-8'])) {
                throw new \RuntimeException('mail() refused the password reset mail; see sendmail_path in php.ini');
            }
        } else {
            throw new \RuntimeException("NOTEJAM_MAIL is '{$this->config->mail}'; it must be log, sendmail or file:DIR");
        }
    }

    /**
     * Address of the site. The Host header is the visitor's own word: taken into a real mail it
     * would let anybody send a user a link to another host.
     */
    private function base(): string
    {
        if ($this->config->url !== '') {
            return $this->config->url;
        }
        if ($this->config->mail === 'sendmail') {
            throw new \RuntimeException('NOTEJAM_MAIL=sendmail needs NOTEJAM_URL, the address of the site for the link in the mail');
        }
        return ($this->request->isHttps() ? 'https://' : 'http://') . $this->request->server('HTTP_HOST');
    }

    private function store(string $folder, string $mail): void
    {
        $name = sprintf('%s/%s-%s', $folder, gmdate('Ymd\THis\Z'), bin2hex(random_bytes(8)));
        $handle = fopen("$name.tmp", 'x');
        chmod("$name.tmp", 0600);
        if (fwrite($handle, $mail) !== strlen($mail) || !fsync($handle) || !fclose($handle) || !rename("$name.tmp", "$name.eml")) {
            throw new \RuntimeException("the mail cannot be written to $folder");
        }
    }
}
