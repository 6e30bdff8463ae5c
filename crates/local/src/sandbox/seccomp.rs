//! The system calls an instance may make.
//!
//! Two filters, because the answer matters: what is known and refused gets `EPERM`; what is not known to this list,
//! `clone3` among it (its flags are in memory, where a filter cannot look), gets `ENOSYS`, so that C libraries fall
//! back to what is known. The list began from the calls that current C libraries, language runtimes, databases and
//! web servers make; beyond Docker's default, `ptrace`, `process_vm_*`, `io_uring_*`, `adjtimex` and all calls that only
//! make sense with capabilities that no instance has are refused.

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Allowed on every architecture.
#[rustfmt::skip]
const ALLOWED: &[i64] = &[
    SYS_accept, SYS_accept4, SYS_bind, SYS_brk, SYS_capget, SYS_capset, SYS_chdir, SYS_chroot,
    SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone, SYS_close, SYS_close_range,
    SYS_connect, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_faccessat,
    SYS_faccessat2, SYS_fadvise64, SYS_fallocate, SYS_fchdir, SYS_fchmod, SYS_fchmodat, SYS_fchown,
    SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr, SYS_flock, SYS_fremovexattr,
    SYS_fsetxattr, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_futex, SYS_futex_waitv,
    SYS_get_robust_list, SYS_getcpu, SYS_getcwd, SYS_getdents64, SYS_getegid, SYS_geteuid, SYS_getgid,
    SYS_getgroups, SYS_getitimer, SYS_getpeername, SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority,
    SYS_getrandom, SYS_getresgid, SYS_getresuid, SYS_getrusage, SYS_getsid, SYS_getsockname, SYS_getsockopt,
    SYS_gettid, SYS_gettimeofday, SYS_getuid, SYS_getxattr, SYS_inotify_add_watch, SYS_inotify_init1,
    SYS_inotify_rm_watch, SYS_io_cancel, SYS_io_destroy, SYS_io_getevents, SYS_io_setup, SYS_io_submit,
    SYS_ioctl, SYS_ioprio_get, SYS_ioprio_set, SYS_kill, SYS_landlock_add_rule, SYS_landlock_create_ruleset,
    SYS_landlock_restrict_self, SYS_lgetxattr, SYS_linkat, SYS_listen, SYS_listxattr, SYS_llistxattr,
    SYS_lremovexattr, SYS_lseek, SYS_lsetxattr, SYS_madvise, SYS_membarrier, SYS_memfd_create,
    SYS_memfd_secret, SYS_mincore, SYS_mkdirat, SYS_mknodat, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_mmap,
    SYS_mprotect, SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive, SYS_mq_timedsend,
    SYS_mq_unlink, SYS_mremap, SYS_mseal, SYS_msgctl, SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_msync,
    SYS_munlock, SYS_munlockall, SYS_munmap, SYS_nanosleep, SYS_newfstatat, SYS_openat, SYS_openat2,
    SYS_personality, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_pipe2, SYS_pkey_alloc, SYS_pkey_free,
    SYS_pkey_mprotect, SYS_ppoll, SYS_prctl, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_prlimit64,
    SYS_process_mrelease, SYS_pselect6, SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_read, SYS_readahead,
    SYS_readlinkat, SYS_readv, SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_remap_file_pages,
    SYS_removexattr, SYS_renameat2, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigpending,
    SYS_rt_sigprocmask, SYS_rt_sigqueueinfo, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
    SYS_rt_tgsigqueueinfo, SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_getaffinity,
    SYS_sched_getattr, SYS_sched_getparam, SYS_sched_getscheduler, SYS_sched_rr_get_interval,
    SYS_sched_setaffinity, SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_yield,
    SYS_seccomp, SYS_semctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_sendfile, SYS_sendmmsg, SYS_sendmsg,
    SYS_sendto, SYS_set_robust_list, SYS_set_tid_address, SYS_setfsgid, SYS_setfsuid, SYS_setgid,
    SYS_setgroups, SYS_setitimer, SYS_setpgid, SYS_setpriority, SYS_setregid, SYS_setresgid, SYS_setresuid,
    SYS_setreuid, SYS_setsid, SYS_setsockopt, SYS_setuid, SYS_setxattr, SYS_shmat, SYS_shmctl, SYS_shmdt,
    SYS_shmget, SYS_shutdown, SYS_sigaltstack, SYS_signalfd4, SYS_socket, SYS_socketpair, SYS_splice,
    SYS_statfs, SYS_statx, SYS_symlinkat, SYS_sync, SYS_syncfs, SYS_sysinfo, SYS_tee, SYS_tgkill,
    SYS_timer_create, SYS_timer_delete, SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime,
    SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime, SYS_times, SYS_tkill, SYS_truncate,
    SYS_umask, SYS_uname, SYS_unlinkat, SYS_utimensat, SYS_vmsplice, SYS_wait4, SYS_waitid, SYS_write,
    SYS_writev,
];

/// Allowed too: younger than the constants of the C library; numbers above 423 are the same on all architectures
/// (include/uapi/asm-generic/unistd.h): cachestat, fchmodat2, futex_wake, futex_wait, futex_requeue.
const ALLOWED_YOUNG: [i64; 5] = [451, 452, 454, 455, 456];

/// Allowed on this architecture.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[i64] = &[
    SYS_access, SYS_alarm, SYS_arch_prctl, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_epoll_create,
    SYS_epoll_wait, SYS_eventfd, SYS_fork, SYS_futimesat, SYS_get_thread_area, SYS_getdents, SYS_getpgrp,
    SYS_getrlimit, SYS_inotify_init, SYS_lchown, SYS_link, SYS_lstat, SYS_mkdir, SYS_mknod, SYS_modify_ldt,
    SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_rename, SYS_renameat, SYS_rmdir, SYS_select,
    SYS_set_thread_area, SYS_setrlimit, SYS_signalfd, SYS_stat, SYS_symlink, SYS_sync_file_range, SYS_time,
    SYS_unlink, SYS_utime, SYS_utimes, SYS_vfork,
    333, // io_pgetevents
];

/// Allowed on this architecture: renameat, sync_file_range, getrlimit, setrlimit, io_pgetevents.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[i64] = &[38, 84, 163, 164, 292];

/// Known and refused.
#[rustfmt::skip]
const REFUSED: &[i64] = &[
    SYS_acct, SYS_add_key, SYS_adjtimex, SYS_bpf, SYS_clock_adjtime, SYS_clock_settime, SYS_delete_module,
    SYS_fanotify_init, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick,
    SYS_get_mempolicy, SYS_init_module, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup,
    SYS_kcmp, SYS_kexec_file_load, SYS_kexec_load, SYS_keyctl, SYS_lookup_dcookie, SYS_mbind,
    SYS_migrate_pages, SYS_mount, SYS_mount_setattr, SYS_move_mount, SYS_move_pages, SYS_name_to_handle_at,
    SYS_open_by_handle_at, SYS_open_tree, SYS_perf_event_open, SYS_pidfd_getfd, SYS_pivot_root,
    SYS_process_madvise, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_quotactl,
    SYS_quotactl_fd, SYS_reboot, SYS_request_key, SYS_set_mempolicy, SYS_set_mempolicy_home_node,
    SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_swapoff, SYS_swapon, SYS_syslog,
    SYS_umount2, SYS_unshare, SYS_userfaultfd, SYS_vhangup,
];

/// Known and refused on this architecture.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[SYS_ioperm, SYS_iopl, SYS_sysfs, SYS_uselib, SYS_ustat];
/// Known and refused on this architecture.
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[i64] = &[];

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// `clone` with any of these makes a namespace (sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET).
const NEW_NAMESPACES: [c_int; 7] =
    [CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET];

/// Address families that reach past the instance's network: the host's hypervisor and the kernel's crypto.
const REFUSED_FAMILIES: [c_int; 2] = [AF_VSOCK, AF_ALG];

/// Types into a terminal as if a person did (ioctl_tty(2)): a way out of `kiln exec` on kernels that still have it.
const TIOCSTI: u64 = 0x5412;

/// Execution domains other than Linux on this machine and 32 bits of it (personality(2); as in Docker's profile).
const ALLOWED_PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The filters, to be installed in this order: of two answers of the same kind the kernel takes the later filter's.
pub(crate) fn filters() -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let every = |lists: &[&[i64]]| -> Rules {
        lists.iter().flat_map(|list| list.iter()).map(|call| (*call, Vec::new())).collect()
    };
    let known = every(&[ALLOWED, &ALLOWED_YOUNG, ALLOWED_HERE, REFUSED, REFUSED_HERE]);
    let mut refused = every(&[REFUSED, REFUSED_HERE]);
    refused.insert(SYS_clone, one_of(&NEW_NAMESPACES, |bit| (SeccompCmpOp::MaskedEq(bit), bit))?);
    refused.insert(SYS_socket, one_of(&REFUSED_FAMILIES, |family| (SeccompCmpOp::Eq, family))?);
    refused.insert(SYS_ioctl, vec![SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, TIOCSTI)?])?]);
    refused.insert(SYS_personality, vec![none_of(&ALLOWED_PERSONALITIES)?]);
    let errno = |code: c_int| SeccompAction::Errno(code.unsigned_abs());
    Ok([
        SeccompFilter::new(known, errno(ENOSYS), SeccompAction::Allow, ARCH)?.try_into()?,
        SeccompFilter::new(refused, SeccompAction::Allow, errno(EPERM), ARCH)?.try_into()?,
    ])
}

fn condition(
    argument: u8,
    op: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
}

/// Rules of which one must hold for the first argument.
fn one_of(
    values: &[c_int],
    compare: impl Fn(u64) -> (SeccompCmpOp, u64),
) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let rule = |value: &c_int| {
        let (op, value) = compare(u64::from(value.unsigned_abs()));
        SeccompRule::new(vec![condition(0, op, value)?])
    };
    values.iter().map(rule).collect()
}

/// A rule that holds when the first argument is none of the values.
fn none_of(values: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let differs = values.iter().map(|value| condition(0, SeccompCmpOp::Ne, *value));
    SeccompRule::new(differs.collect::<Result<_, _>>()?)
}
