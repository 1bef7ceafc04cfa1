<?php

declare(strict_types=1);

namespace Notejam;

/** Values of a form and what is wrong with them, for showing both next to the fields. */
final class Form
{
    /** @var array<string, string> */
    private array $errors = [];

    /** @param array<string, string> $values */
    public function __construct(private readonly array $values = [])
    {
    }

    public static function fromRequest(Request $request, string ...$names): self
    {
        $values = [];
        foreach ($names as $name) {
            $values[$name] = $request->form($name);
        }
        return new self($values);
    }

    public function value(string $name): string
    {
        return $this->values[$name] ?? '';
    }

    public function error(string $name): ?string
    {
        return $this->errors[$name] ?? null;
    }

    /** The first fault of a field counts; null is none. */
    public function fail(string $name, ?string $message): void
    {
        if ($message !== null) {
            $this->errors[$name] ??= $message;
        }
    }

    /** A text that has to be there, of at most $max characters, without control characters. */
    public function requireLine(string $name, int $max): void
    {
        $value = trim($this->value($name));
        $this->fail($name, match (true) {
            $value === '' => 'This field is required.',
            preg_match('/[\x00-\x1f\x7f]/', $value) === 1 => 'Line breaks and control characters are not allowed here.',
            preg_match('/^.{1,' . $max . '}$/Dus', $value) !== 1 => "Use at most $max characters.",
            default => null,
        });
    }

    public function isValid(): bool
    {
        return $this->errors === [];
    }
}
