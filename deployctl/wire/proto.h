/* proto.h - the conversation between deployctl and its agent on a host.
 *
 * After the magic, both send hello.  Then deployctl sends requests and the agent answers each, in
 * order unless said otherwise; the agent may send events between.  Control frames are JSON
 * objects:
 *
 *   request  {"n": N, "do": VERB, ...}        n: number of the request ("id" is always a release)
 *   answer   {"n": N, "ok": true, ...}
 *         or {"n": N, "ok": false, "kind": err_code_name(), "message": TEXT, ...}
 *   event    {"event": NAME, ...}
 *
 * hello     {"hello": {"lowest": 1, "highest": 1, "version": "0.1.0"}} both ways; the agent adds
 *           "host", "pid", "user".  No common version: the agent's error names its own.
 * ping      {} -> {}.  An agent that hears nothing for PROTO_SILENCE_MS finishes its present act,
 *           starts no other, and leaves.  deployctl pings every PROTO_PING_MS.
 *
 * look      {"services": [..], "socket": PATH|null} -> what this host is, changes nothing, takes no
 *           lock; must come before `switch`, since services and socket are remembered from it:
 *             {"releases": [{"id","digest","good","bad","bad_reason","complete",
 *                            "about": {}   what came with it, see stage; absent: nothing}],
 *              "irreversible": [{"id","irreversible": TEXT}]  also of releases that are gone
 *              "bad": {DIGEST: REASON}  judged bad, also when the folder is gone
 *              "current": ID|null       pinned release (supervisor's word; symlink without one)
 *              "digest": HEX|null       its digest
 *              "previous": ID|null, "good": [ID...] newest first, "highest": N, "epoch": N,
 *              "holder": null|{"who","rollout","since","step"}   flock held by another agent
 *              "rollout": null|{...}    the open rollout record, whole
 *              "supervisor": null|{"version"}, "supervisor_error": TEXT|null,
 *              "instances": [{"id","state","ready","health","restarts","restart_mode","release"}]
 *              "healthy": bool          all instances running and ready (true without services)
 *              "confirmed": bool, "deadline_s": N|null,
 *              "phase": TEXT|null       the supervisor's: "switching" and "reverting" pass by
 *              "configs": [NAME...]     files of a release that say something about its services
 *                                       (release_config); absent: there are none
 *              "supervisor_kind": TEXT  of the error, when it did not answer: "denied", ...
 *              "free_bytes","free_inodes": N, "writable": bool,
 *              "folder": "ok"|"not writable"|"unusable",
 *              "agent": {"version","protocol","user"}, "now_ms": N  wall clock
 *              "problems": [TEXT...]    what keeps the host from taking part
 *              "warnings": [TEXT...]    what does not
 *              "drained": null|{"since","left": bool}   out of the traffic; left: nobody is at
 *                        it.  Absent: this agent does not know "drain" (below).
 *              "freeze": null|{"reason","who","since","until": TEXT|null,"over": bool}  nothing
 *                        new is released here (agent/freeze.h).  Absent: an older agent.
 *              "since": TEXT|null       when it was switched to what it runs
 *              "last": null|{"at","who","outcome","release","reason"}  how the last rollout ended;
 *                        reason: why its release is bad
 *              "request": null|"pause"|"abort" }
 * lock      {"who","rollout","steal": false} -> {"epoch": highest here} or kind "exists" with the
 *           holder and "epoch".  flock; lost with the connection.
 * fence     {"epoch": N, "rollout"} -> {} after epoch is fsynced; "stale" if N < epoch here.  All
 *           verbs marked * need lock and fence first; they carry "token" "EPOCH:ROLLOUT" and are
 *           refused with "stale" if the token is not the fenced one.
 * stage*    {"id","digest","entries": N,"bytes": N,"shared_dirs":[],"shared_files":[],
 *            "durability": "syncfs"|"fsync","owner": TEXT|null,"token",
 *            "links": "inside"|"any" (absent: inside), "modes": "normal"|"keep" (absent: normal),
 *            "chunks": bool (absent: no),
 *            "about": {"app","signature","irreversible","message","who","hooks": {}} (absent:
 *            nothing; agent/about.h)}.  "denied": this host wants a signature (agent/trust.h), and
 *            there is none by a key that it trusts.  An older agent takes no notice of it.
 *           followed by ONE manifest
 *           (short form, zstd-compressed, in FRAME_MANIFEST frames, the last one empty)
 *           -> {"have": true} when the release is already here complete, else
 *              {"missing": [entry index ...], "reserved": bytes}: each content is asked for once
 *              (the lowest index that has it).  "limit" when space or inodes do not suffice.
 *              Also "reused": contents taken from releases here, "damaged": of these not usable,
 *              "resumed": contents that an earlier try had brought.
 *              With "chunks", of large missing contents that something here may be alike to:
 *              "bases": [{"entry": N,"sums": TEXT}...], the sums (plan/delta.h) of its chunks of
 *              chunker_coarse(size of the new content) (plan/chunker.h).  An older agent gives
 *              none.
 * chunks*   {"id","bases": [{"entry": N,"average": N,"runs": [FIRST,COUNT...]}...],"token"} ->
 *           {"bases": [{"entry": N,"sums": TEXT}...]}: the regions made by these chunks, cut again
 *           with another average; they are numbered behind the coarse ones.  Whole contents may
 *           be sent meanwhile, programs not.
 * data      FRAME_DATA: 4-byte big-endian entry index, 1 byte flags (PROTO_LAST: last piece of this
 *           content; PROTO_PROGRAM: it is a program, plan/delta.h), then a piece of the zstd frame
 *           of the content or program.  PROTO_JOINED, where the answer to `stage` has "joined":
 *           true: the zstd frame has several whole contents, before each its entry index (4 bytes,
 *           big-endian); the index of the data frame means nothing then, PROTO_LAST is the end of
 *           the last of them.  Contents one after another.  A failure is told at `seal`.
 * seal*     {"id","token"} -> {"bytes_received","seconds"} when every content is verified, the tree
 *           is complete and durable, and renamed to releases/ID.  With programs also
 *           {"again": [entry index ...]}: these did not come out right (what they were made from
 *           has changed); send them whole, and seal again.  "invalid" with "errors": [TEXT...]
 *           (also of a stage that has it): the supervisor here does not take what the release says
 *           of its services (release_config); it counts as not sealed.
 * unstage*  {"id","token"} -> {} removes an unfinished staging.  One that was cut by a lost
 *           connection or a kill is taken up by the next `stage` instead (agent/parts.h).
 * record*   {"record": {...},"sealed": ID,"token"} -> {}: .deploy/rollout written durably
 *           (CONTRACT.md §4).  With "sealed" (may be absent) only if that release was sealed in
 *           this conversation, else "state": so it can be sent behind `seal`.
 * step*     {"step": TEXT,"token"} -> {}: what `holder.step` shows.
 * hook*     {"name","command","timeout_s","env": {},"token"} -> {"code","output"}
 * switch*   {"id","confirm_within_s","ready_timeout_s","on_fail","undo": bool,"token"} ->
 *              {"result": "switched"|"reverted"|"failed","id","from","reason","instances"}
 *           the supervisor's release.switch; without services the agent swaps `current` itself.
 *           What was not sealed in this conversation is verified first (unless it is undone to
 *           what ran before): "corrupt", "denied".
 *           "drain": {"command","undrain_command","timeout_s","delay_ms","wait_ms","ports": [N...],
 *              "haproxy": {"sockets": [..],"backend","server"},"env": {}}, also of revert*; all may
 *              be absent.  The host leaves the traffic before and comes back after, whatever
 *              happens (agent/drain.h); the answer has "drain": {"waited_ms","left": N,
 *              "warnings": [TEXT...]}.  One that was left out by an agent that was killed comes
 *              back at `fence`, if it is healthy.
 * watch*    {"token","interval_ms"} -> {}: from now on events {"event": "health", "ready": bool,
 *              "healthy": bool, "gate": null|{"kind": "exit|restart|probe|readiness","text"},
 *              "probes": N, "instances": [...], "confirmed": bool, "deadline_s": N|null}
 *           also "error": TEXT while the supervisor does not answer (then ready is false);
 *           at each change, and every 5 s.  interval_ms 0 ends it.
 * sample    {"metrics": URL|"log:PATH"|"probes","requests","errors","latency": TEXT|null,
 *            "latency_ms": N} -> {"requests","errors": N,"started": S,
 *              and with a latency "timed","slow": N,"bound": S}: this host's counters as they are
 *              now, changes nothing, takes no lock.  What each means: plan/evidence.h,
 *              plan/prometheus.h; a null is the default there.  "started" differs when the
 *              counters began anew.  One at a time ("state").  "unreachable", "timeout",
 *              "not-found", "protocol", "limit": no counts.  An older agent refuses the verb
 *              ("protocol").
 * verify    {"id","limit": N} -> {"id","digest","entries": N,"missing","changed","added": N,
 *            "signed_by": NAME|null, "not_trusted": TEXT|null,
 *            "differences": [{"path","kind": "missing"|"changed"|"added","how"}...]}: the release
 *            as it lies there against its manifest, changes nothing, takes no lock.  At most
 *            `limit` are listed, added ones last.  An older agent refuses the verb ("protocol").
 * diff      {"from": ID,"to": ID,"limit": N}, or without "to" and followed by ONE manifest as for
 *           `stage` -> {"added","removed","changed": N,
 *            "rows": [{"path","from": ENTRY,"to": ENTRY}...]}, at most `limit` of them, with ENTRY
 *           {"kind": "file"|"folder"|"link","mode","size","target"}; changes nothing, no lock.
 *           With "to" also "settings", what the service files say differently (settings.h).
 * verdict*  {"id","kind": "good"|"bad"|"inconclusive","text","numbers": {},"token"} -> {}: a line
 *            of the journal, for `why`.
 * confirm*  {"id","token"} -> {};   extend* {"id","confirm_within_s","token"} -> {"deadline_s"}
 * revert*   {"id","token","reason"} -> {"result","id" (what runs now)}
 * mark*     {"digest","verdict": "good"|"bad","reason","token"} -> {}
 * close*    {"outcome": "done|aborted|rolled-back|partial|...","release","token"} -> {}: journal
 *            line, record removed durably.
 * prune*    {"keep": N,"dry": bool,"token"} -> {"removed": [ID...],"bytes"}
 * request   {"what": "pause"|"abort"|null,"who"} -> {"holder": null|{...}}: left for the live
 *           holder, who gets the event {"event": "request","what","who"} within a second; null
 *           when nobody is there to see it.  No lock needed.  What was meant for another rollout
 *           is removed by `fence`.
 * freeze    {"freeze": {"reason","who","until": TEXT|null}|null} -> {"was","freeze"} as in `look`:
 *           writes or removes .deploy/freeze durably.  No lock needed, so that it works while
 *           others are at it.  `stage` and `switch` are refused then ("state") unless the release
 *           was good here before, has begun, is undone, or the request has "new": false (a
 *           rollback, a resume; absent: true) or "despite_freeze": true.  An older agent refuses
 *           the verb ("protocol") and knows no freeze.
 * logs      {"names": [SERVICE...],"lines": N,"follow": bool,"stderr": bool,"socket": PATH|null,
 *            "cursors": {INSTANCE: TEXT}} -> {}, then events, until the connection ends or (without
 *           follow) {"event": "log-end","message": TEXT|null}:
 *            {"event": "log","instance","text": whole lines,"cursor": TEXT,"missed": bool
 *             lines before these are lost,"elsewhere": TEXT  they are in no file; absent: they are}
 *            {"event": "log-trouble","message"}   the supervisor does not tell; it is asked again.
 *           Cursors of earlier events go on where they were.  No lock; one at a time ("state").
 * history   {"limit": N} -> {"lines": [{journal line}...]} newest first, {"damaged": N}
 * unlock    {} -> {}
 *
 * Requests are acts in order, but `ping`, `look`, `request`, `history`, `sample`, `freeze` and
 * `logs` are answered at once even while a long act (switch, hook, seal) is under way.
 */
#ifndef DEPLOYCTL_WIRE_PROTO_H
#define DEPLOYCTL_WIRE_PROTO_H

enum {
    PROTO_LOWEST = 1,
    PROTO_HIGHEST = 1,
    PROTO_PING_MS = 5000,
    PROTO_SILENCE_MS = 20000,
    PROTO_WATCH_MS = 5000,
    PROTO_LAST = 1, /* flags of a data frame */
    PROTO_PROGRAM = 2,
    PROTO_JOINED = 4,
    PROTO_DATA_HEADER = 5,
};

#endif
