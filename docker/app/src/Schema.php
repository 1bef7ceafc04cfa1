<?php

declare(strict_types=1);

namespace Notejam;

/** What the code expects of the database file. */
final class Schema
{
    /** `PRAGMA user_version`: the number of the last file in migrations/. */
    public const VERSION = 3;

    /** `PRAGMA application_id`, "NJAM": tells our files from others. */
    public const APPLICATION_ID = 0x4e4a414d;
}
