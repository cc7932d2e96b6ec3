/* confirm.h: what sluiced and the CLI both know of a change that must be confirmed. */
#ifndef SLUICE_CONFIRM_H
#define SLUICE_CONFIRM_H

/* The longest time that a change may wait for its confirmation, in seconds. */
#define COMMIT_CONFIRM_MAX 86400

#endif
