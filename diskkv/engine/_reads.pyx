# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=False
"""Reads LevelDB with threads that know nothing of Python: optional, and the same as `fetch_pool.FetchPool`.

A Python thread that reads a row has to get the interpreter lock after every read, and again to hand the row over: with
sixteen threads and a busy loop that costs several times what the read itself costs. These threads call LevelDB's C
interface and never touch a Python object.

LevelDB is the copy that plyvel has loaded, and the database is the one that plyvel has opened. Its address is taken out
of plyvel's object, whose layout is not public: it is used only if the object has the expected size and what it points
to is recognised as a database of that very library (`Interface.handle`).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from diskkv.errors import CorruptionError, StorageError

# With fetch_pool.py, which does not use a module with another one: counts up with every change of what Python code sees.
REVISION = 3

cdef extern from *:
    """
    #include <dlfcn.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/resource.h>
    #include <sys/uio.h>
    #include <unistd.h>

    typedef struct { void *rep; } database_t;

    typedef struct {
        char *(*get)(database_t *, const void *, const char *, size_t, size_t *, char **);
        void (*release)(void *);
        void *read_options;
    } leveldb_t;

    /* While more is to be read the loop is told of so many rows together. */
    #define ANNOUNCED 4

    /* Where plyvel's object has the pointer to its database: behind Python's own two words and Cython's one. */
    #define POINTER_AT 24

    /* Read memory of this process that may not be there. */
    static int peek(const void *from, void *to, size_t size) {
        struct iovec local = {to, size}, remote = {(void *)from, size};
        return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
    }

    /* Whether `database` is what leveldb_open would have made. Tells by the name that the C++ compiler gives its type:
       an object begins with a pointer into its type's table, and in front of that is a pointer to its description. */
    static int is_database(const void *database) {
        static const char wanted[] = "N7leveldb6DBImplE";
        char name[sizeof wanted];
        const char *table, *description, *name_at;
        return peek(database, &table, sizeof table) && peek(table - sizeof table, &description, sizeof description) &&
               peek(description + sizeof name_at, &name_at, sizeof name_at) && peek(name_at, name, sizeof name) &&
               memcmp(name, wanted, sizeof wanted) == 0;
    }

    static void *pointer_in(PyObject *object) {
        void *database;
        memcpy(&database, (const char *)object + POINTER_AT, sizeof database);
        return database;
    }

    static int find_functions(leveldb_t *leveldb, const char *plyvel) {
        void *library = dlopen(plyvel, RTLD_NOW | RTLD_NOLOAD);
        if (!library) return 0;
        void *(*make_options)(void) = (void *(*)(void))dlsym(library, "leveldb_readoptions_create");
        leveldb->get = (char *(*)(database_t *, const void *, const char *, size_t, size_t *, char **))
            dlsym(library, "leveldb_get");
        leveldb->release = (void (*)(void *))dlsym(library, "leveldb_free");
        if (!make_options || !leveldb->get || !leveldb->release) return 0;
        leveldb->read_options = make_options();
        return leveldb->read_options != NULL;
    }

    typedef struct job_t {
        struct job_t *next;
        PyObject *fetch;
        const char *key;
        size_t key_bytes;
        char *value;
        size_t value_bytes;
        char *error;
        int is_pointer;
        char *record;       /* what the value is a pointer to, and where in it the string is */
        const char *body;
        size_t body_bytes;
        int from_disk;
    } job_t;

    /* Where the files are that pointers lead to: their descriptors, from the one with number `first` on. */
    typedef struct { uint32_t first, count; int *descriptors; } files_t;

    typedef struct { job_t *first, *last; } jobs_t;

    typedef struct {
        leveldb_t leveldb;
        database_t database;
        pthread_mutex_t mutex;
        pthread_cond_t todo_changed, all_done;
        jobs_t todo, done;
        int under_way;      /* jobs that are in `todo` or being read */
        int read;           /* jobs in `done` */
        int idle;           /* threads that wait for jobs */
        int wakes;          /* one of them was woken and does not run yet */
        int notifies;       /* whether `event_fd` is to be written when something is done */
        int ends;
        int event_fd;
        files_t files;
    } pool_t;

    static void append_jobs(jobs_t *jobs, jobs_t more) {
        if (jobs->first) jobs->last->next = more.first; else jobs->first = more.first;
        jobs->last = more.last;
    }

    /* See codec/value_record.py. */
    #define POINTER_TAG 0xff
    #define POINTER_BYTES 17
    #define RECORD_HEADER_BYTES 12
    #define MOST_RECORD_BYTES (1 << 20)

    static int descriptor_of(pool_t *pool, uint32_t number) {
        pthread_mutex_lock(&pool->mutex);
        uint32_t at = number - pool->files.first;
        int descriptor = at < pool->files.count ? pool->files.descriptors[at] : -1;
        pthread_mutex_unlock(&pool->mutex);
        return descriptor;
    }

    /* CRC-32 as zlib's, eight bytes at a time. */
    static uint32_t crc_table[8][256];

    static void make_crc_table(void) {
        for (uint32_t at = 0; at < 256; at++) {
            uint32_t crc = at;
            for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
            crc_table[0][at] = crc;
        }
        for (int slice = 1; slice < 8; slice++)
            for (int at = 0; at < 256; at++)
                crc_table[slice][at] = crc_table[slice - 1][at] >> 8 ^ crc_table[0][crc_table[slice - 1][at] & 0xff];
    }

    static uint32_t crc_of(const char *data, size_t size) {
        const unsigned char *at = (const unsigned char *)data;
        uint32_t crc = 0xffffffffu;
        for (; size >= 8; size -= 8, at += 8) {
            uint32_t low, high;
            memcpy(&low, at, 4);
            memcpy(&high, at + 4, 4);
            low ^= crc;
            crc = crc_table[7][low & 0xff] ^ crc_table[6][low >> 8 & 0xff] ^ crc_table[5][low >> 16 & 0xff] ^
                  crc_table[4][low >> 24] ^ crc_table[3][high & 0xff] ^ crc_table[2][high >> 8 & 0xff] ^
                  crc_table[1][high >> 16 & 0xff] ^ crc_table[0][high >> 24];
        }
        for (; size; size--, at++) crc = crc >> 8 ^ crc_table[0][(crc ^ *at) & 0xff];
        return ~crc;
    }

    /* Find the string in a record: whether that is whole and the one of the job's row. */
    static int find_body(job_t *job, size_t record_bytes) {
        uint32_t crc, row_bytes, body_bytes;
        if (record_bytes < RECORD_HEADER_BYTES) return 0;
        memcpy(&crc, job->record, sizeof crc);
        memcpy(&row_bytes, job->record + 4, sizeof row_bytes);
        memcpy(&body_bytes, job->record + 8, sizeof body_bytes);
        if (row_bytes != job->key_bytes || record_bytes - RECORD_HEADER_BYTES != (uint64_t)row_bytes + body_bytes ||
            memcmp(job->record + RECORD_HEADER_BYTES, job->key, row_bytes) != 0 ||
            crc_of(job->record + sizeof crc, record_bytes - sizeof crc) != crc)
            return 0;
        job->body = job->record + RECORD_HEADER_BYTES + row_bytes;
        job->body_bytes = body_bytes;
        return 1;
    }

    /* Read what a pointer leads to. Where that fails there is no record: whoever asked looks again. */
    static void follow(pool_t *pool, job_t *job) {
        uint32_t number, size;
        uint64_t offset;
        memcpy(&number, job->value + 1, sizeof number);
        memcpy(&offset, job->value + 5, sizeof offset);
        memcpy(&size, job->value + 13, sizeof size);
        int descriptor = descriptor_of(pool, number);
        if (descriptor < 0 || size > MOST_RECORD_BYTES || !(job->record = malloc(size))) return;
        if (pread(descriptor, job->record, size, offset) != (ssize_t)size || !find_body(job, size)) {
            free(job->record);
            job->record = NULL;
        }
    }

    static void read_row(pool_t *pool, job_t *job, long *blocks) {
        struct rusage usage;
        job->value = pool->leveldb.get(&pool->database, pool->leveldb.read_options, job->key, job->key_bytes,
                                       &job->value_bytes, &job->error);
        job->is_pointer = job->value && job->key_bytes && job->key[0] == 'm' && job->value_bytes > POINTER_BYTES &&
                          (unsigned char)job->value[0] == POINTER_TAG;
        if (job->is_pointer) follow(pool, job);
        job->from_disk = getrusage(RUSAGE_THREAD, &usage) == 0 && usage.ru_inblock != *blocks;
        *blocks = usage.ru_inblock;
    }

    /* Whether a thread is to be woken now; if so, it counts as woken. */
    static int wakes_one(pool_t *pool) {
        return pool->todo.first && pool->idle && !pool->wakes && (pool->wakes = 1);
    }

    static void *work(void *argument) {
        pool_t *pool = argument;
        static const uint64_t one = 1;
        long blocks = 0;
        pthread_mutex_lock(&pool->mutex);
        for (;;) {
            job_t *job = pool->todo.first;
            if (!job) {
                if (pool->ends) break;
                pool->idle++;
                pthread_cond_wait(&pool->todo_changed, &pool->mutex);
                pool->idle--;
                pool->wakes = 0;
                continue;
            }
            pool->todo.first = job->next;
            job->next = NULL;
            /* Each thread wakes the next: the one that submits pays for one only. */
            int wakes = wakes_one(pool);
            pthread_mutex_unlock(&pool->mutex);
            if (wakes) pthread_cond_signal(&pool->todo_changed);
            read_row(pool, job, &blocks);
            pthread_mutex_lock(&pool->mutex);
            append_jobs(&pool->done, (jobs_t){job, job});
            pool->read++;
            if (--pool->under_way == 0) pthread_cond_broadcast(&pool->all_done);
            if (pool->notifies && (pool->read >= ANNOUNCED || !pool->todo.first)) {
                pool->notifies = 0;
                pthread_mutex_unlock(&pool->mutex);
                if (write(pool->event_fd, &one, sizeof one) < 0) { /* it is readable already */ }
                pthread_mutex_lock(&pool->mutex);
            }
        }
        pthread_mutex_unlock(&pool->mutex);
        return NULL;
    }

    static int start_thread(pthread_t *thread, pool_t *pool) {
        sigset_t all, before;
        sigfillset(&all);
        /* Signals are for Python's threads. */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int failed = pthread_create(thread, NULL, work, pool);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return failed;
    }

    static void open_pool(pool_t *pool, int event_fd) {
        memset(pool, 0, sizeof *pool);
        pthread_mutex_init(&pool->mutex, NULL);
        pthread_cond_init(&pool->todo_changed, NULL);
        pthread_cond_init(&pool->all_done, NULL);
        pool->event_fd = event_fd;
    }

    static void set_files(pool_t *pool, files_t files) {
        pthread_mutex_lock(&pool->mutex);
        free(pool->files.descriptors);
        pool->files = files;
        pthread_mutex_unlock(&pool->mutex);
    }

    static void submit_jobs(pool_t *pool, jobs_t jobs, int count) {
        pthread_mutex_lock(&pool->mutex);
        append_jobs(&pool->todo, jobs);
        pool->under_way += count;
        int wakes = wakes_one(pool);
        pthread_mutex_unlock(&pool->mutex);
        if (wakes) pthread_cond_signal(&pool->todo_changed);
    }

    static jobs_t take_done(pool_t *pool) {
        pthread_mutex_lock(&pool->mutex);
        jobs_t taken = pool->done;
        pool->done.first = pool->done.last = NULL;
        pool->read = 0;
        pthread_mutex_unlock(&pool->mutex);
        return taken;
    }

    static int await_rows(pool_t *pool) {
        pthread_mutex_lock(&pool->mutex);
        int has_rows = pool->done.first != NULL;
        pool->notifies = !has_rows;
        pthread_mutex_unlock(&pool->mutex);
        return has_rows;
    }

    static void await_all(pool_t *pool) {
        pthread_mutex_lock(&pool->mutex);
        while (pool->under_way) pthread_cond_wait(&pool->all_done, &pool->mutex);
        pthread_mutex_unlock(&pool->mutex);
    }

    static void end_threads(pool_t *pool, pthread_t *threads, int count) {
        pthread_mutex_lock(&pool->mutex);
        pool->ends = 1;
        pthread_mutex_unlock(&pool->mutex);
        pthread_cond_broadcast(&pool->todo_changed);
        for (int at = 0; at < count; at++) pthread_join(threads[at], NULL);
    }
    """

    ctypedef struct database_t:
        void *rep
    ctypedef struct leveldb_t:
        void (*release)(void *) nogil
    ctypedef struct job_t:
        job_t *next
        PyObject *fetch
        const char *key
        size_t key_bytes
        char *value
        size_t value_bytes
        char *error
        int is_pointer
        char *record
        const char *body
        size_t body_bytes
        int from_disk
    ctypedef struct jobs_t:
        job_t *first
        job_t *last
    ctypedef struct files_t:
        unsigned int first
        unsigned int count
        int *descriptors
    ctypedef struct pool_t:
        leveldb_t leveldb
        database_t database
        files_t files
        int under_way
    ctypedef unsigned long pthread_t
    int find_functions(leveldb_t *leveldb, const char *plyvel)
    void *pointer_in(PyObject *object)
    bint is_database(const void *database)
    int start_thread(pthread_t *thread, pool_t *pool)
    void make_crc_table()
    void open_pool(pool_t *pool, int event_fd)
    void set_files(pool_t *pool, files_t files)
    void submit_jobs(pool_t *pool, jobs_t jobs, int count)
    int await_rows(pool_t *pool)
    jobs_t take_done(pool_t *pool)
    void await_all(pool_t *pool) nogil
    void end_threads(pool_t *pool, pthread_t *threads, int count) nogil

cdef enum:
    MOST_THREADS = 256
    LEAST_BYTES = 32
    HEAD_AT = 17

make_crc_table()
cdef leveldb_t leveldb
cdef bint has_functions = False


def use(str plyvel_path not None):
    """Find LevelDB's functions through plyvel's module, whose file this is; whether they are there."""
    global has_functions
    has_functions = find_functions(&leveldb, plyvel_path.encode())
    return has_functions


def can_read(database not None):
    """Whether this is a plyvel.DB that is open and can be read from here."""
    if not has_functions or type(database).__basicsize__ < LEAST_BYTES:
        return False
    return is_database(pointer_in(<PyObject *>database))


cdef bytes joined(const char *first, size_t first_bytes, const char *second, size_t second_bytes):
    cdef bytes result = PyBytes_FromStringAndSize(NULL, first_bytes + second_bytes)
    memcpy(PyBytes_AS_STRING(result), first, first_bytes)
    memcpy(PyBytes_AS_STRING(result) + first_bytes, second, second_bytes)
    return result


cdef class NativePool:
    """Up to `threads` threads. `event_fd` is written when `finished` has something to answer, once after each call of
    `await_rows`. The database may only be closed, and another one be submitted, when nothing is under way."""

    cdef pool_t pool
    cdef pthread_t threads[MOST_THREADS]
    cdef int started
    cdef int limit
    cdef object database

    def __cinit__(self, int threads, int event_fd):
        self.limit = min(threads, MOST_THREADS)
        open_pool(&self.pool, event_fd)
        self.pool.leveldb = leveldb

    def __dealloc__(self):
        # The threads use what is about to be freed.
        end_threads(&self.pool, self.threads, self.started)
        free(self.pool.files.descriptors)

    def set_files(self, dict descriptors not None):
        """Where the value files are from now on: number -> file descriptor."""
        cdef files_t files
        files.first = min(descriptors, default=0)
        files.count = max(descriptors) - files.first + 1 if descriptors else 0
        files.descriptors = <int *>malloc(sizeof(int) * max(files.count, 1))
        if files.descriptors == NULL:
            raise MemoryError
        for at in range(files.count):
            files.descriptors[at] = descriptors.get(files.first + at, -1)
        set_files(&self.pool, files)

    def submit(self, database, list fetches not None):
        """Have rows read. `database` is a plyvel.DB for which `can_read` is true."""
        cdef jobs_t jobs
        cdef job_t *job
        cdef int count = 0
        if database is not self.database or pointer_in(<PyObject *>database) != self.pool.database.rep:
            # It was opened anew, or closed.
            if not can_read(database):
                raise StorageError("the store is closed")
            self.pool.database.rep = pointer_in(<PyObject *>database)
            self.database = database
        jobs.first = jobs.last = NULL
        for fetch in fetches:
            row = fetch.row
            job = <job_t *>malloc(sizeof(job_t))
            if job == NULL:
                raise MemoryError
            job.next = NULL
            # The fetch keeps its row, and so the bytes, until `finished` has it.
            Py_INCREF(fetch)
            job.fetch = <PyObject *>fetch
            job.key = PyBytes_AS_STRING(row)
            job.key_bytes = PyBytes_GET_SIZE(row)
            job.error = job.record = NULL
            job.is_pointer = 0
            if jobs.first == NULL:
                jobs.first = job
            else:
                jobs.last.next = job
            jobs.last = job
            count += 1
        if count == 0:
            return
        submit_jobs(&self.pool, jobs, count)
        while self.started < self.limit and self.started < self.pool.under_way:
            if start_thread(&self.threads[self.started], &self.pool) != 0:
                if self.started == 0:
                    raise StorageError("no thread can be started")
                break
            self.started += 1

    def await_rows(self):
        """Whether `finished` has something to answer; if not, `event_fd` is written when it does."""
        return await_rows(&self.pool) != 0

    def finished(self):
        """The fetches that were read since the last call. One `is_pointer` when what that leads to could not be read."""
        cdef job_t *job = take_done(&self.pool).first
        cdef job_t *next
        cdef list fetches = []
        while job != NULL:
            next = job.next
            fetch = <object>job.fetch
            if job.error != NULL:
                text = job.error.decode("utf-8", "replace")
                fetch.error = (CorruptionError if text.startswith("Corruption") else StorageError)(text)
                leveldb.release(job.error)
            elif job.record != NULL:
                fetch.value = joined(job.value + HEAD_AT, job.value_bytes - HEAD_AT, job.body, job.body_bytes)
                free(job.record)
            elif job.value != NULL:
                fetch.value = PyBytes_FromStringAndSize(job.value, job.value_bytes)
                fetch.is_pointer = job.is_pointer != 0
            if job.value != NULL:
                leveldb.release(job.value)
            fetch.from_disk = job.from_disk != 0
            fetches.append(fetch)
            Py_DECREF(fetch)
            free(job)
            job = next
        return fetches

    def drain(self):
        """As `finished`, after waiting for all that is under way."""
        with nogil:
            await_all(&self.pool)
        return self.finished()

    def close(self):
        """End the threads, after what is under way. Nothing may be submitted any more."""
        with nogil:
            end_threads(&self.pool, self.threads, self.started)
        self.started = 0
        self.finished()
        self.database = None
