<?php

declare(strict_types=1);

namespace Notejam;

/** Sign-up, sign-in, sign-out, change of the password, forgotten password. */
final class AccountPages
{
    // Attempts in Throttle's window. The second limit is for a whole address, which many may share.
    private const SIGNIN_PER_ACCOUNT = 10;
    private const SIGNIN_PER_ADDRESS = 100;
    private const RESET_PER_ACCOUNT = 3;
    private const RESET_PER_ADDRESS = 30;

    private readonly Throttle $throttle;

    public function __construct(private readonly Context $context)
    {
        $this->throttle = new Throttle($context->database);
    }

    public function signUp(): Response
    {
        $context = $this->context;
        if ($context->request->verb() === 'GET') {
            return $context->page('signup', 'Sign up', ['form' => new Form()]);
        }
        $form = $this->newPasswordForm('password', 'repeat_password', 'email');
        $email = Users::normalize($form->value('email'));
        $form->fail('email', $this->emailFault($email));
        if ($form->isValid()) {
            $user = $context->users->create($email, $form->value('password'));
            if ($user !== null) {
                $context->session->signIn($user);
                return $context->redirect('/', 'signed-up');
            }
            $form->fail('email', 'There is an account with this address already.');
        }
        return $context->page('signup', 'Sign up', ['form' => $form], 422);
    }

    public function signIn(): Response
    {
        $context = $this->context;
        $next = Router::safeNext($context->request->form('next') ?: $context->request->query('next'));
        if ($context->request->verb() === 'GET') {
            return $context->page('signin', 'Sign in', ['form' => new Form(), 'next' => $next]);
        }
        $form = Form::fromRequest($context->request, 'email', 'password');
        $email = Users::normalize($form->value('email'));
        $form->fail('email', $this->emailFault($email));
        $form->fail('password', $form->value('password') === '' ? 'This field is required.' : null);
        if ($form->isValid()) {
            $user = $this->authenticate($email, $form->value('password'));
            if ($user !== null) {
                $context->session->signIn($user);
                return $context->redirect($next, 'signed-in');
            }
            $form->fail('password', 'Wrong e-mail address or password.');
        }
        return $context->page('signin', 'Sign in', ['form' => $form, 'next' => $next], 422);
    }

    public function signOut(): Response
    {
        if ($this->context->request->verb() === 'GET') {
            return $this->context->user() === null
                ? $this->context->redirect('/signin/')
                : $this->context->page('signout', 'Sign out');
        }
        $this->context->session->signOut();
        return $this->context->redirect('/signin/', 'signed-out');
    }

    public function settings(): Response
    {
        $context = $this->context;
        if ($context->request->verb() === 'GET') {
            return $context->page('settings', 'Settings', ['form' => new Form()]);
        }
        $user = $context->userId();
        $subject = "settings|$user";
        $this->refuse($this->throttle->wait($subject, self::SIGNIN_PER_ACCOUNT));
        $form = $this->newPasswordForm('new_password', 'repeat_new_password', 'old_password');
        if (!$context->users->isPassword($user, $form->value('old_password'))) {
            $this->throttle->record($subject);
            $form->fail('old_password', 'This is not your password.');
        }
        if (!$form->isValid()) {
            return $context->page('settings', 'Settings', ['form' => $form], 422);
        }
        $hash = Users::hash($form->value('new_password'));
        $context->database->write(function () use ($context, $user, $hash): void {
            $context->users->setPasswordHash($user, $hash);
            $context->session->endOthers($user);
        });
        return $context->redirect('/', 'password-changed');
    }

    public function forgotPassword(): Response
    {
        $context = $this->context;
        if ($context->request->verb() === 'GET') {
            return $context->page('forgot_password', 'Forgotten password', ['form' => new Form()]);
        }
        $form = Form::fromRequest($context->request, 'email');
        $email = Users::normalize($form->value('email'));
        $form->fail('email', $this->emailFault($email));
        if (!$form->isValid()) {
            return $context->page('forgot_password', 'Forgotten password', ['form' => $form], 422);
        }
        $address = 'reset|' . $this->address();
        $account = "reset|$email";
        $this->refuse($this->throttle->wait($address, self::RESET_PER_ADDRESS));
        $flooded = $this->throttle->wait($account, self::RESET_PER_ACCOUNT) > 0;
        $this->throttle->record($address, $account);
        $user = $context->users->findByEmail($email);
        if ($user !== null && !$flooded) {
            $token = (new PasswordResets($context->database))->issue($user['id']);
            (new Mailer($context->config, $context->request))->sendReset($email, $token);
        }
        // The same page in each case: it does not tell whether there is an account.
        return $context->page('forgot_password_sent', 'Forgotten password', ['email' => $email]);
    }

    public function resetPassword(string $token): Response
    {
        $context = $this->context;
        $resets = new PasswordResets($context->database);
        $user = $resets->find($token) ?? throw self::deadLink();
        if ($context->request->verb() === 'GET') {
            return $context->page('reset_password', 'New password', ['form' => new Form()]);
        }
        $form = $this->newPasswordForm('new_password', 'repeat_new_password');
        if (!$form->isValid()) {
            return $context->page('reset_password', 'New password', ['form' => $form], 422);
        }
        $hash = Users::hash($form->value('new_password'));
        $context->database->write(function () use ($context, $resets, $token, $hash): void {
            // Again, under the write lock: of two requests with one token one gets it.
            $user = $resets->find($token) ?? throw self::deadLink();
            $resets->consume($user);
            $context->users->setPasswordHash($user, $hash);
            $context->session->endOthers($user);
        });
        return $context->redirect('/signin/', 'password-reset');
    }

    private function authenticate(string $email, string $password): ?int
    {
        $account = 'signin|' . $this->address() . "|$email";
        $address = 'signin|' . $this->address();
        $this->refuse(max(
            $this->throttle->wait($account, self::SIGNIN_PER_ACCOUNT),
            $this->throttle->wait($address, self::SIGNIN_PER_ADDRESS),
        ));
        $user = $this->context->users->authenticate($email, $password);
        if ($user === null) {
            $this->throttle->record($account, $address);
        } else {
            $this->throttle->forget($account);
        }
        return $user;
    }

    /** A form with a new password, twice; the fields named last are required as they are. */
    private function newPasswordForm(string $password, string $repeat, string ...$others): Form
    {
        $form = Form::fromRequest($this->context->request, $password, $repeat, ...$others);
        $form->fail($password, Users::passwordFault($form->value($password)));
        $form->fail($repeat, $form->value($password) !== $form->value($repeat) ? 'The passwords are not the same.' : null);
        return $form;
    }

    private function emailFault(string $email): ?string
    {
        return match (true) {
            $email === '' => 'This field is required.',
            !Users::isEmail($email) => 'This is not an e-mail address.',
            default => null,
        };
    }

    private function refuse(int $seconds): void
    {
        if ($seconds > 0) {
            error_log('notejam: too many attempts from ' . $this->address());
            throw HttpError::tooMany($seconds);
        }
    }

    private function address(): string
    {
        return $this->context->request->server('REMOTE_ADDR');
    }

    private static function deadLink(): HttpError
    {
        return new HttpError(404, 'This link has expired or was used already. Ask for a new one at /forgot-password/.');
    }
}
