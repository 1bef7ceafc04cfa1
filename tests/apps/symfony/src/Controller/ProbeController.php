<?php

declare(strict_types=1);

namespace App\Controller;

use App\EventListener\DeferredWrite;
use Doctrine\DBAL\Exception\UniqueConstraintViolationException;
use Doctrine\ORM\EntityManagerInterface;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpFoundation\StreamedResponse;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Symfony\Component\HttpKernel\Exception\NotFoundHttpException;
use Symfony\Component\HttpKernel\Exception\UnprocessableEntityHttpException;
use Symfony\Component\Routing\Attribute\Route;

/** What tests write and read without a browser; off unless NOTEJAM_WRITES_API=1, like the demo application's. */
#[AsController]
final class ProbeController
{
    public function __construct(private readonly EntityManagerInterface $manager)
    {
        if (getenv('NOTEJAM_WRITES_API') !== '1') {
            throw new NotFoundHttpException('NOTEJAM_WRITES_API is not 1');
        }
    }

    #[Route('/api/writes', methods: ['POST'])]
    public function write(Request $request): Response
    {
        $id = self::id($request);
        try {
            $this->manager->getConnection()->insert('writes', ['id' => $id, 'at' => (int) (microtime(true) * 1000), 'instance' => (string) gethostname()]);
        } catch (UniqueConstraintViolationException) {
            return new JsonResponse(['error' => "id $id is written already"], Response::HTTP_CONFLICT);
        }
        return new JsonResponse(['id' => $id, 'instance' => gethostname()], Response::HTTP_CREATED);
    }

    #[Route('/api/writes', methods: ['GET'])]
    public function list(Request $request): Response
    {
        $after = $request->query->getInt('after');
        $rows = $this->manager->getConnection()->fetchAllAssociative('SELECT rowid, id, at, instance FROM writes WHERE rowid > ? ORDER BY rowid LIMIT ?',
            [$after, max(0, min(10_000, $request->query->getInt('limit', 1000)))], ['integer', 'integer']);
        return new JsonResponse(['writes' => $rows, 'next' => $rows === [] ? $after : end($rows)['rowid']]);
    }

    /** Answers at once; the row is written afterwards, when php-fpm has ended the request for everybody else. */
    #[Route('/api/deferred', methods: ['POST'])]
    public function deferred(Request $request): Response
    {
        $request->attributes->set(DeferredWrite::ATTRIBUTE, self::id($request));
        return new JsonResponse(['accepted' => true], Response::HTTP_ACCEPTED);
    }

    #[Route('/stream', methods: ['GET'])]
    public function stream(): Response
    {
        return new StreamedResponse(static function (): void {
            for ($i = 0; $i < 5; $i++) {
                echo "part $i\n";
                while (ob_get_level() > 0) { // output_buffering in php.ini
                    ob_end_flush();
                }
                flush();
                usleep(100_000);
            }
        }, 200, ['Content-Type' => 'text/plain', 'X-Accel-Buffering' => 'no']);
    }

    private static function id(Request $request): string
    {
        $id = (string) $request->request->get('id');
        if (preg_match('/^[A-Za-z0-9._:-]{1,128}$/D', $id) !== 1) {
            throw new UnprocessableEntityHttpException('id: 1 to 128 of A-Z a-z 0-9 . _ : -');
        }
        return $id;
    }
}
