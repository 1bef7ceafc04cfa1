<?php

declare(strict_types=1);

namespace Notejam;

/** Renders templates/*.php. A template escapes each value with `$view->e()`. */
final class View
{
    /** Changes with app.css, so that browsers may keep it. */
    public const ASSETS = '1';

    public function __construct(private readonly Context $context)
    {
    }

    /** A whole page. @param array<string, mixed> $variables */
    public function page(string $template, string $title, array $variables): string
    {
        $variables['title'] = $title;
        $variables['content'] = $this->template($template, $variables);
        return $this->template('layout', $variables);
    }

    /** @param array<string, mixed> $variables */
    public function template(string $template, array $variables): string
    {
        $view = $this;
        extract($variables, EXTR_SKIP);
        ob_start();
        try {
            require dirname(__DIR__) . "/templates/$template.php";
        } finally {
            $html = ob_get_clean();
        }
        return (string) $html;
    }

    public function e(string|int|null $text): string
    {
        return htmlspecialchars((string) $text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8');
    }

    public function csrf(): string
    {
        return '<input type="hidden" name="' . Csrf::FIELD . '" value="' . $this->context->csrf->token() . '">';
    }

    /** A labelled input with its error. @param array<string, string|int|bool> $attributes */
    public function field(Form $form, string $name, string $label, array $attributes = []): string
    {
        if (!$form->isValid()) {
            $attributes['autofocus'] = $form->error($name) !== null; // the first faulty field gets it
        }
        return $this->template('_field', [
            'name' => $name,
            'label' => $label,
            // a password is never sent back
            'value' => ($attributes['type'] ?? 'text') === 'password' ? '' : $form->value($name),
            'error' => $form->error($name),
            'attributes' => $attributes,
        ]);
    }

    public function time(int $milliseconds): string
    {
        $seconds = intdiv($milliseconds, 1000);
        return '<time datetime="' . gmdate('Y-m-d\TH:i:s\Z', $seconds) . '">' . gmdate('Y-m-d H:i', $seconds) . ' UTC</time>';
    }

    public function instance(): string
    {
        return $this->e($this->context->config->instance);
    }
}
