/* analyzer.h - what clang-tidy's analyzer cannot see across files: these never return 0. */
#ifndef LINT_ANALYZER_H
#define LINT_ANALYZER_H

#include "base/err.h"

#define err_set(err, code, ...) ((void)(err_set)((err), (code), __VA_ARGS__), (int)(code))
#define err_sys(err, sys, ...)  ((void)(err_sys)((err), (sys), __VA_ARGS__), (int)ERR_SYSTEM)

#endif
