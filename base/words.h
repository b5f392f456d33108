/* words.h - words split as a POSIX shell splits them: ' " \ quotes, no expansion, no globs. */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include "base/arena.h"
#include "base/err.h"

enum { WORDS_MAX = 4096 };

/* *ret_argv: NULL-terminated array in the arena.  ERR_INVALID for an open quote,
 * ERR_LIMIT beyond WORDS_MAX words.  An empty text gives an array of only NULL. */
int words_split(const char *text, struct arena *arena, char ***ret_argv, size_t *ret_count,
                struct err *err);

/* As Python's shlex.split: a backslash in "..." keeps its meaning only before " and \, and the end
 * of a line is a letter like any other. */
int words_split_shlex(const char *text, struct arena *arena, char ***ret_argv, size_t *ret_count,
                      struct err *err);

/* supervisord's environment syntax: KEY="val",KEY2='v,2',KEY3=plain; the same rules for
 * quotes; commas or newlines between pairs.  *ret_pairs: NULL-terminated "KEY=value". */
int words_environment(const char *text, struct arena *arena, char ***ret_pairs, size_t *ret_count,
                      struct err *err);
/* The same text exactly as supervisord takes it apart (shlex without POSIX rules, every fourth
 * token a separator): a backslash is a letter, all quotes at both ends of a value go, # begins a
 * comment, and a value with odd signs in it must stand in quotes. */
int words_environment_shlex(const char *text, struct arena *arena, char ***ret_pairs,
                            size_t *ret_count, struct err *err);

#endif
