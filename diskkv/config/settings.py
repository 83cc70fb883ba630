"""The parameter table: one typed attribute per parameter, with its default, range and description.

A new parameter is one line here: its name is the attribute's with dashes, and CONFIG, the configuration file, the
command line, `--help` and the reference all know it. Where a default or a limit is not Redis' own,
tests/config/test_redis.py says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from diskkv.codec.numbers import INT64_MAX
from diskkv.config.kinds import INT32_MAX, INT32_MIN, UINT32_MAX, BufferLimit
from diskkv.config.parameters import (
    Parameter,
    choice,
    collected,
    count,
    event_classes,
    flags,
    integer,
    memory,
    memory_or_percent,
    no_master,
    octal,
    oom_scores,
    output_buffers,
    percentiles,
    save_points,
    seconds,
    secret,
    text,
    time_window,
    words,
    yes_no,
)

IN_MEMORY_DIRECTORY = ":memory:"

_REPLICATION = "diskkv does not replicate"
_CLUSTER = "diskkv has no cluster mode"
_AOF = "LevelDB's own log takes the place of the AOF"
_RDB = "data is always on disk; see backup-interval"
_EVICTION = "memory is bounded without deleting data; see maxdisk-policy"
_DELETION = "deleting takes constant time anyway, space is reclaimed in the background"
_ALLOCATOR = "concerns Redis' memory allocator"
_THREADS = "commands and sockets are served by one thread"
_PROCESS = "concerns Redis' own process management"

_DERIVED = "Unless given it follows from maxmemory, or else from the machine's memory."

MIB = 1 << 20


class Network:
    """Network"""

    bind = words(("127.0.0.1",), "Addresses to listen on; a leading - ignores one that is not available.")
    port = integer(6379, 0, 65535, "TCP port to listen on; 0 for none.")
    unixsocket = text("", "Path of a unix socket to listen on too.", immutable=True, what="path")
    unixsocketperm = octal(0, "Permissions of the unix socket; 0 leaves them to the umask.", immutable=True)
    tcp_backlog = integer(511, 0, INT32_MAX, "Connections that may wait to be accepted.", immutable=True)
    tcp_keepalive = seconds(300, "Idle time after which the kernel probes a connection; 0 for never.")
    timeout = seconds(0, "Close a connection that was idle this long; 0 for never.")
    maxclients = integer(10000, 1, UINT32_MAX, "Connections that may be open at the same time.", unsigned=True)
    protected_mode = yes_no(True, "Without a password, serve only clients on this machine.")
    bind_source_addr = text("", "Address of outgoing connections.", ignored=_REPLICATION)
    socket_mark_id = integer(
        0, 0, UINT32_MAX, "Mark of listening sockets.", unsigned=True, immutable=True, ignored="sockets are not marked"
    )
    max_new_connections_per_cycle = integer(
        10, 1, 1000, "Connections accepted per turn.", unsigned=True, ignored="the backlog is emptied every turn"
    )
    max_new_tls_connections_per_cycle = integer(
        1, 1, 1000, "TLS connections accepted, and handshakes begun, per turn.", unsigned=True
    )


class Security:
    """Security"""

    requirepass = secret("Password of the default user.")
    aclfile = text("", "File with the users' rules.", immutable=True, what="path")
    acl_pubsub_default = choice("resetchannels", "allchannels resetchannels", "Channels that a new user may use.")
    acllog_max_len = integer(128, 0, INT64_MAX, "Entries that ACL LOG keeps.")
    user = collected(1, False, "ACL rules", "A user and its ACL rules; one line for each user.")
    rename_command = collected(2, True, "old name, new name", 'Rename a command, or disable it with the name "".')
    enable_protected_configs = choice("no", "no yes local", "Whether protected parameters can be set.", immutable=True)
    enable_debug_command = choice("no", "no yes local", "Whether the DEBUG command can be used.", immutable=True)
    enable_module_command = choice(
        "no", "no yes local", "Whether MODULE can be used.", immutable=True, ignored="modules cannot be loaded"
    )
    hide_user_data_from_log = yes_no(False, "Keep the arguments of commands out of crash reports.")


class Tls:
    """TLS"""

    tls_port = integer(0, 0, 65535, "TCP port for TLS connections; 0 for none.")
    tls_cert_file = text("", "The server's certificate (PEM).", what="path", volatile=True)
    tls_key_file = text("", "The key of the certificate (PEM).", what="path", volatile=True)
    tls_key_file_pass = secret("Password of the key.")
    tls_ca_cert_file = text("", "Authorities that sign clients' certificates (PEM).", what="path", volatile=True)
    tls_ca_cert_dir = text("", "Directory of such certificates.", what="path", volatile=True)
    tls_auth_clients = choice("yes", "no yes optional", "Whether clients need a certificate.")
    tls_protocols = text("", 'TLS versions to accept, such as "TLSv1.2 TLSv1.3"; empty for both.')
    tls_ciphers = text("", "Ciphers for TLS 1.2, in OpenSSL's syntax.")
    tls_ciphersuites = text("", "Cipher suites for TLS 1.3, separated by colons.")
    tls_prefer_server_ciphers = yes_no(False, "Choose by the server's order of ciphers.")
    tls_dh_params_file = text("", "Diffie-Hellman parameters (PEM).", what="path", volatile=True)
    tls_session_caching = yes_no(True, "Let clients resume TLS sessions.")
    tls_session_cache_size = integer(20480, 0, INT32_MAX, "TLS sessions to keep; 0 for any number.")
    tls_session_cache_timeout = seconds(300, "How long TLS sessions can be resumed.")
    tls_client_cert_file = text("", "Certificate for outgoing connections.", what="path", ignored=_REPLICATION)
    tls_client_key_file = text("", "Its key.", what="path", ignored=_REPLICATION)
    tls_client_key_file_pass = secret("Password of that key.", ignored=_REPLICATION)
    tls_replication = yes_no(False, "Use TLS between replicas.", ignored=_REPLICATION)
    tls_cluster = yes_no(False, "Use TLS between cluster nodes.", ignored=_CLUSTER)


class Storage:
    """Storage"""

    dir = text(
        "./data", f"Data directory; {IN_MEMORY_DIRECTORY} keeps nothing.", immutable=True, protected=True, what="path"
    )
    databases = integer(16, 1, INT32_MAX, "Number of databases.", immutable=True)
    appendfsync = choice(
        "everysec", "everysec always no", "When writes are forced to disk: before each reply, once a second, never."
    )
    cache_size = memory(64 * MIB, f"Memory for the cache of values. {_DERIVED}")
    cold_reads = choice(
        "auto", "auto always never", "Whether threads read what is not in memory: when that is faster, always, never."
    )
    cold_read_threads = integer(16, 1, 256, "Threads for such reads.", immutable=True)
    min_free_disk = memory(64 * MIB, "Free disk space below which only writes that free space are taken.")
    write_pacing = yes_no(True, "Slow writers down before LevelDB's merges fall so far behind that it would stop.")
    maxmemory = memory(
        0, "Memory for the whole process, shared by caches and buffers; no data is deleted for it. 0 for no budget."
    )
    turn_max_bytes = memory(16 * MIB, "Staged writes after which a turn ends and is committed.", low=64 << 10)
    leveldb_write_buffer_size = memory(
        4 * MIB, f"LevelDB's table in memory; up to two exist. {_DERIVED}", low=64 << 10, immutable=True
    )
    memtable_size = memory(
        24 * MIB,
        f"Memory for rows that wait to go to LevelDB; up to three times as much while it is behind. {_DERIVED}",
        low=64 << 10,
        immutable=True,
    )
    large_string_size = memory(
        512, "Strings of so many bytes are written to files beside LevelDB; 0 keeps all in LevelDB.", immutable=True
    )
    leveldb_block_cache_size = memory(
        32 * MIB, f"LevelDB's cache of uncompressed blocks. {_DERIVED}", immutable=True
    )
    leveldb_block_size = memory(4096, "Uncompressed size of LevelDB's blocks.", low=1024, immutable=True)
    leveldb_max_file_size = memory(
        8 * MIB, "Size of LevelDB's tables. Unless given it follows from the data's size.", low=MIB, immutable=True
    )
    leveldb_max_open_files = integer(
        1000, 74, 50_000, f"Tables that LevelDB keeps open. {_DERIVED}", immutable=True
    )
    leveldb_mmap = yes_no(False, "Let LevelDB map tables into memory.", immutable=True)
    leveldb_compression = choice("snappy", "snappy none", "Compression of LevelDB's blocks.", immutable=True)
    leveldb_bloom_bits = integer(10, 0, 64, "Bits per key of LevelDB's Bloom filters; 0 for none.", immutable=True)
    maxdisk = memory(0, "Size of the dataset's files above which keys are evicted, or writes refused; 0 for no limit.")
    maxdisk_policy = choice(
        "noeviction",
        "noeviction allkeys-lru allkeys-random volatile-lru volatile-random volatile-ttl",
        "What is evicted; lru knows no more of a key than whether it is in the cache.",
    )
    compaction_window = time_window(
        "Local time of day, such as 02:00-05:00, in which everything is compacted once; empty for never."
    )
    compaction_io_limit = memory(
        0, "Bytes per second that compactions may write, between their pieces of 64 MiB; 0 for no limit."
    )
    active_expire = yes_no(True, "Delete expired keys in the background, not only when they are met.")
    active_expire_effort = integer(1, 1, 10, "How much time the deletion of expired keys may take.")


class Backups:
    """Backups"""

    backup_dir = text(
        "", "Where SAVE and BGSAVE put backups; empty for backups/ in the data directory.", protected=True, what="path"
    )
    backup_keep = count(3, "Backups that are kept when a new one is made; 0 for all.")
    backup_interval = seconds(0, "Make a backup this often, if something changed; 0 for only when asked.")


class Protocol:
    """Protocol and client limits"""

    proto_max_bulk_len = memory(512 * MIB, "Longest single argument.", low=MIB, signed=True)
    client_query_buffer_limit = memory(1024 * MIB, "Unparsed input a client may have.", low=MIB)
    client_output_buffer_limit = output_buffers(
        {
            "normal": BufferLimit(0, 0, 0),
            "replica": BufferLimit(256 * MIB, 64 * MIB, 60),
            "pubsub": BufferLimit(32 * MIB, 8 * MIB, 60),
        },
        "Unread replies a client may have; more for too long, and it is disconnected.",
    )
    maxmemory_clients = memory_or_percent(0, "Memory for all clients' buffers; 0 for no limit.")
    tracking_table_max_keys = count(1_000_000, "Keys remembered for client-side caching.")
    busy_reply_threshold = integer(
        5000, 0, INT64_MAX, "Time after which a script is busy.", aliases=("lua-time-limit",), unit="milliseconds"
    )
    notify_keyspace_events = event_classes("Which keyspace events are published.")


class Observability:
    """Logs and statistics"""

    loglevel = choice("notice", "debug verbose notice warning nothing", "The least important messages to log.")
    logfile = text("", "Log file; empty for standard output.", immutable=True, what="path")
    log_format = choice("text", "text json", "Form of the log: Redis' own, or an object a line.")
    syslog_enabled = yes_no(False, "Log to syslog too.", immutable=True)
    syslog_ident = text("redis", "Name in syslog.", immutable=True)
    syslog_facility = choice(
        "local0",
        "user local0 local1 local2 local3 local4 local5 local6 local7",
        "Facility in syslog.",
        immutable=True,
    )
    slowlog_log_slower_than = integer(
        10000, -1, INT64_MAX, "Commands slower than this are logged; -1 for none.", unit="microseconds"
    )
    slowlog_file = text("", "File for the slow log too, with a JSON object a line.", immutable=True, what="path")
    slowlog_max_len = integer(128, 0, INT64_MAX, "Entries that SLOWLOG keeps.")
    latency_monitor_threshold = integer(
        0, 0, INT64_MAX, "Events slower than this are recorded; 0 for none.", unit="milliseconds"
    )
    latency_tracking = yes_no(True, "Keep latency statistics for each command.")
    latency_tracking_info_percentiles = percentiles((50.0, 99.0, 99.9), "Percentiles that INFO shows.")
    metrics_port = integer(0, 0, 65535, "TCP port of the Prometheus endpoint, /metrics; 0 for none.", immutable=True)
    crash_log_enabled = yes_no(True, "Write a report when the server crashes.")
    crash_memcheck_enabled = yes_no(True, "Test memory after a crash.", ignored=_PROCESS)


class Process:
    """Process"""

    daemonize = yes_no(False, "Run in the background.", immutable=True)
    pidfile = text("", "File for the process id.", immutable=True, what="path")
    supervised = choice("no", "upstart systemd auto no", "How to tell the service manager.", immutable=True)
    shutdown_timeout = seconds(10, "How long to wait for replicas at the end.", ignored=_REPLICATION)
    shutdown_on_sigint = flags("default", "default save nosave now force", "What SIGINT does.", ignored=_RDB)
    shutdown_on_sigterm = flags("default", "default save nosave now force", "What SIGTERM does.", ignored=_RDB)
    set_proc_title = yes_no(True, "Change the process title.", immutable=True, ignored=_PROCESS)
    proc_title_template = text("{title} {listen-addr} {server-mode}", "Its form.", ignored=_PROCESS)
    oom_score_adj = choice(
        "no", "no yes relative absolute", "Change OOM scores.", synonyms={"relative": "yes"}, ignored=_PROCESS
    )
    oom_score_adj_values = oom_scores((0, 200, 800), "OOM scores of the processes.", ignored=_PROCESS)
    disable_thp = yes_no(True, "Disable transparent huge pages.", immutable=True, ignored=_PROCESS)
    always_show_logo = yes_no(False, "Show the logo in the log.", immutable=True, ignored="there is none")
    ignore_warnings = text("", "Warnings to ignore at start.", ignored=_PROCESS)
    locale_collate = text("", "Locale of SORT ALPHA.", ignored="SORT compares bytes")
    hz = integer(10, 0, INT32_MAX, "Runs of the background task a second.", clamp=(1, 500), ignored="timers are exact")
    dynamic_hz = yes_no(True, "Adapt hz.", ignored="timers are exact")
    io_threads = integer(1, 1, 128, "Threads for sockets.", immutable=True, ignored=_THREADS)
    server_cpulist = text("", "CPUs to use.", immutable=True, aliases=("server_cpulist",), ignored=_PROCESS)
    bio_cpulist = text("", "CPUs to use.", immutable=True, aliases=("bio_cpulist",), ignored=_PROCESS)
    aof_rewrite_cpulist = text("", "CPUs to use.", immutable=True, aliases=("aof_rewrite_cpulist",), ignored=_PROCESS)
    bgsave_cpulist = text("", "CPUs to use.", immutable=True, aliases=("bgsave_cpulist",), ignored=_PROCESS)


class Encodings:
    """Encodings"""

    hash_max_listpack_entries = count(
        512, "Fields up to which a hash is packed into one value.", aliases=("hash-max-ziplist-entries",)
    )
    hash_max_listpack_value = memory(
        64, "Longest field or value of a packed hash.", aliases=("hash-max-ziplist-value",)
    )
    set_max_intset_entries = count(512, "Members up to which a set of integers is an intset.")
    set_max_listpack_entries = count(128, "Members up to which a set is packed into one value.")
    set_max_listpack_value = count(64, "Longest member of a packed set.", unit="bytes")
    zset_max_listpack_entries = count(
        128, "Members up to which a sorted set is packed into one value.", aliases=("zset-max-ziplist-entries",)
    )
    zset_max_listpack_value = memory(64, "Longest member of a packed sorted set.", aliases=("zset-max-ziplist-value",))
    list_max_listpack_size = integer(
        -2,
        INT32_MIN,
        INT32_MAX,
        "Elements up to which a list is packed into one value; -1 to -5: 4 to 64 KiB.",
        aliases=("list-max-ziplist-size",),
    )
    list_compress_depth = integer(0, 0, INT32_MAX, "Uncompressed ends of a list.", ignored="LevelDB compresses")
    stream_node_max_bytes = memory(4096, "Size of a stream's blocks of entries.")
    stream_node_max_entries = integer(100, 0, INT64_MAX, "Entries in a stream's block.")
    hll_sparse_max_bytes = memory(3000, "Size up to which a HyperLogLog is sparse.")
    vset_force_single_threaded_execution = yes_no(False, "Search vector sets in one thread.", ignored=_THREADS)


class Compatibility:
    """Accepted for compatibility"""

    save = save_points(((3600, 1), (300, 100), (60, 10000)), "When a snapshot is made.", ignored=_RDB)
    dbfilename = text(
        "dump.rdb",
        "Name of the RDB file.",
        protected=True,
        forbidden="/",
        complaint="dbfilename can't be a path, just a filename",
        ignored=_RDB,
    )
    rdbcompression = yes_no(True, "Compress RDB files.", ignored=_RDB)
    rdbchecksum = yes_no(True, "Add a checksum to RDB files.", immutable=True, ignored=_RDB)
    rdb_del_sync_files = yes_no(False, "Delete RDB files made for replicas.", ignored=_RDB)
    rdb_save_incremental_fsync = yes_no(True, "Sync RDB files bit by bit.", ignored=_RDB)
    stop_writes_on_bgsave_error = yes_no(True, "Refuse writes after a failed snapshot.", ignored=_RDB)
    sanitize_dump_payload = choice("no", "no yes clients", "Check RESTORE's input deeply.", ignored="it always is")
    appendonly = yes_no(True, "Log every write.", ignored=_AOF)
    appendfilename = text(
        "appendonly.aof",
        "Name of the AOF.",
        immutable=True,
        forbidden="/",
        complaint="appendfilename can't be a path, just a filename",
        ignored=_AOF,
    )
    appenddirname = text(
        "appendonlydir",
        "Directory of the AOF.",
        immutable=True,
        forbidden="/",
        complaint="appenddirname can't be a path, just a dirname",
        ignored=_AOF,
    )
    aof_load_truncated = yes_no(True, "Accept an AOF that was cut off.", ignored=_AOF)
    aof_rewrite_incremental_fsync = yes_no(True, "Sync the AOF bit by bit.", ignored=_AOF)
    aof_timestamp_enabled = yes_no(False, "Add times to the AOF.", ignored=_AOF)
    aof_use_rdb_preamble = yes_no(True, "Start the AOF with an RDB.", ignored=_AOF)
    auto_aof_rewrite_min_size = memory(64 * MIB, "When the AOF is rewritten.", signed=True, ignored=_AOF)
    auto_aof_rewrite_percentage = integer(100, 0, INT32_MAX, "When the AOF is rewritten.", ignored=_AOF)
    no_appendfsync_on_rewrite = yes_no(False, "Do not sync during a rewrite.", ignored=_AOF)
    maxmemory_policy = choice(
        "noeviction",
        "volatile-lru volatile-lfu volatile-random volatile-ttl allkeys-lru allkeys-lfu allkeys-random noeviction",
        "What is evicted.",
        ignored=_EVICTION,
    )
    maxmemory_samples = integer(5, 1, 64, "Keys compared by an eviction.", ignored=_EVICTION)
    maxmemory_eviction_tenacity = integer(10, 0, 100, "Effort of evictions.", ignored=_EVICTION)
    lfu_log_factor = integer(10, 0, INT32_MAX, "Growth of access counters.")
    lfu_decay_time = integer(1, 0, INT32_MAX, "Decay of access counters.", unit="minutes")
    lazyfree_lazy_eviction = yes_no(False, "Evict in the background.", ignored=_DELETION)
    lazyfree_lazy_expire = yes_no(False, "Expire in the background.", ignored=_DELETION)
    lazyfree_lazy_server_del = yes_no(False, "Overwrite in the background.", ignored=_DELETION)
    lazyfree_lazy_user_del = yes_no(False, "Delete in the background.", ignored=_DELETION)
    lazyfree_lazy_user_flush = yes_no(False, "Flush in the background.", ignored=_DELETION)
    activerehashing = yes_no(True, "Rehash in the background.", ignored=_ALLOCATOR)
    activedefrag = yes_no(False, "Defragment memory.", ignored=_ALLOCATOR)
    active_defrag_cycle_min = integer(1, 1, 99, "Effort of defragmentation.", ignored=_ALLOCATOR)
    active_defrag_cycle_max = integer(25, 1, 99, "Effort of defragmentation.", ignored=_ALLOCATOR)
    active_defrag_ignore_bytes = memory(100 * MIB, "When to defragment.", low=1, ignored=_ALLOCATOR)
    active_defrag_max_scan_fields = integer(1000, 1, INT64_MAX, "Effort of defragmentation.", ignored=_ALLOCATOR)
    active_defrag_threshold_lower = integer(10, 0, 1000, "When to defragment.", ignored=_ALLOCATOR)
    active_defrag_threshold_upper = integer(100, 0, 1000, "When to defragment.", ignored=_ALLOCATOR)
    jemalloc_bg_thread = yes_no(True, "Free memory in a thread.", ignored=_ALLOCATOR)
    propagation_error_behavior = choice(
        "ignore", "ignore panic panic-on-replicas", "When a write cannot be replicated.", ignored=_REPLICATION
    )


class Replication:
    """Replication and cluster (accepted for compatibility)"""

    replicaof = no_master("The master.", immutable=True, aliases=("slaveof",), ignored=_REPLICATION)
    masteruser = text("", "User at the master.", ignored=_REPLICATION)
    masterauth = secret("Password at the master.", ignored=_REPLICATION)
    repl_backlog_size = memory(MIB, "Size of the backlog.", low=1, signed=True, ignored=_REPLICATION)
    repl_backlog_ttl = integer(3600, 0, INT64_MAX, "Life of the backlog.", unit="seconds", ignored=_REPLICATION)
    repl_timeout = seconds(60, "When the link is down.", low=1, ignored=_REPLICATION)
    repl_disable_tcp_nodelay = yes_no(False, "Send less often.", ignored=_REPLICATION)
    repl_diskless_sync = yes_no(True, "Synchronise without a file.", ignored=_REPLICATION)
    repl_diskless_sync_delay = seconds(5, "Wait for more replicas.", ignored=_REPLICATION)
    repl_diskless_sync_max_replicas = integer(0, 0, INT32_MAX, "Replicas to wait for.", ignored=_REPLICATION)
    repl_diskless_load = choice("disabled", "disabled on-empty-db swapdb", "Load without a file.", ignored=_REPLICATION)
    repl_ping_replica_period = seconds(
        10, "Time between pings.", low=1, aliases=("repl-ping-slave-period",), ignored=_REPLICATION
    )
    replica_announce_ip = text("", "Address to report.", aliases=("slave-announce-ip",), ignored=_REPLICATION)
    replica_announce_port = integer(
        0, 0, 65535, "Port to report.", aliases=("slave-announce-port",), ignored=_REPLICATION
    )
    replica_announced = yes_no(True, "Be reported by Sentinel.", ignored=_REPLICATION)
    replica_full_sync_buffer_limit = memory(0, "Buffer during a synchronisation.", signed=True, ignored=_REPLICATION)
    replica_ignore_disk_write_errors = yes_no(False, "Go on without a disk.", ignored=_REPLICATION)
    replica_ignore_maxmemory = yes_no(
        True, "Leave evictions to the master.", aliases=("slave-ignore-maxmemory",), ignored=_REPLICATION
    )
    replica_lazy_flush = yes_no(False, "Flush in the background.", aliases=("slave-lazy-flush",), ignored=_REPLICATION)
    replica_priority = integer(
        100, 0, INT32_MAX, "Rank at a failover.", aliases=("slave-priority",), ignored=_REPLICATION
    )
    replica_read_only = yes_no(True, "Refuse writes.", aliases=("slave-read-only",), ignored=_REPLICATION)
    replica_serve_stale_data = yes_no(
        True, "Answer without the master.", aliases=("slave-serve-stale-data",), ignored=_REPLICATION
    )
    min_replicas_to_write = integer(
        0, 0, INT32_MAX, "Replicas a write needs.", aliases=("min-slaves-to-write",), ignored=_REPLICATION
    )
    min_replicas_max_lag = seconds(10, "Their greatest lag.", aliases=("min-slaves-max-lag",), ignored=_REPLICATION)
    cluster_enabled = yes_no(False, "Be a node of a cluster.", immutable=True, ignored=_CLUSTER)
    cluster_config_file = text("nodes.conf", "File for the cluster's state.", immutable=True, ignored=_CLUSTER)
    cluster_port = integer(0, 0, 65535, "Port of the cluster bus.", immutable=True, ignored=_CLUSTER)
    cluster_node_timeout = integer(15000, 0, INT64_MAX, "When a node is down.", unit="milliseconds", ignored=_CLUSTER)
    cluster_require_full_coverage = yes_no(True, "Serve only complete clusters.", ignored=_CLUSTER)
    cluster_allow_reads_when_down = yes_no(False, "Serve reads anyway.", ignored=_CLUSTER)
    cluster_allow_pubsubshard_when_down = yes_no(True, "Serve sharded channels anyway.", ignored=_CLUSTER)
    cluster_allow_replica_migration = yes_no(True, "Let replicas change masters.", ignored=_CLUSTER)
    cluster_migration_barrier = integer(1, 0, INT32_MAX, "Replicas that stay.", ignored=_CLUSTER)
    cluster_replica_no_failover = yes_no(
        False, "Never fail over.", aliases=("cluster-slave-no-failover",), ignored=_CLUSTER
    )
    cluster_replica_validity_factor = integer(
        10, 0, INT32_MAX, "Age for a failover.", aliases=("cluster-slave-validity-factor",), ignored=_CLUSTER
    )
    cluster_link_sendbuf_limit = memory(0, "Buffer of links.", ignored=_CLUSTER)
    cluster_preferred_endpoint_type = choice(
        "ip", "ip hostname unknown-endpoint", "How nodes are named.", ignored=_CLUSTER
    )
    cluster_announce_ip = text("", "Address to report.", ignored=_CLUSTER)
    cluster_announce_hostname = text("", "Host name to report.", ignored=_CLUSTER)
    cluster_announce_human_nodename = text("", "Name to report.", ignored=_CLUSTER)
    cluster_announce_port = integer(0, 0, 65535, "Port to report.", ignored=_CLUSTER)
    cluster_announce_tls_port = integer(0, 0, 65535, "TLS port to report.", ignored=_CLUSTER)
    cluster_announce_bus_port = integer(0, 0, 65535, "Bus port to report.", ignored=_CLUSTER)
    cluster_compatibility_sample_ratio = integer(0, 0, 100, "Commands to check.", ignored=_CLUSTER)
    cluster_slot_stats_enabled = yes_no(False, "Keep statistics of slots.", ignored=_CLUSTER)


_SECTIONS = (
    Network, Security, Tls, Storage, Backups, Protocol, Observability, Process, Encodings, Compatibility, Replication,
)  # fmt: skip


class Settings(
    Network, Security, Tls, Storage, Backups, Protocol, Observability, Process, Encodings, Compatibility, Replication
):
    """A value for every parameter, as plain typed attributes; a new one has the defaults."""

    def __init__(self) -> None:
        for parameter in PARAMETERS:
            setattr(self, parameter.attribute, parameter.default)
        self.given: set[str] = set()
        """The attributes that a file, the command line or CONFIG SET gave a value."""
        self.derived: dict[str, Any] = {}
        """Values that were computed for attributes that were not given: CONFIG REWRITE leaves them out."""
        self.dir = absolute_directory(self.dir)


def absolute_directory(path: str) -> str:
    """The data directory as CONFIG GET shows it."""
    return path if path == IN_MEMORY_DIRECTORY else os.path.abspath(path)


def _collect() -> Iterator[Parameter]:
    for section in _SECTIONS:
        for attribute, parameter in list(vars(section).items()):
            if isinstance(parameter, Parameter):
                parameter.attribute = attribute
                parameter.name = attribute.replace("_", "-")
                parameter.section = section.__doc__ or ""
                # From here on the name exists only on instances, with a value.
                delattr(section, attribute)
                yield parameter


PARAMETERS: tuple[Parameter, ...] = tuple(_collect())
"""Every parameter, in the order of the reference."""

BY_NAME: dict[str, Parameter] = {name: parameter for parameter in PARAMETERS for name in parameter.names}
"""Every parameter under each of its names."""
