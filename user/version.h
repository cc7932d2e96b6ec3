/* version.h: the version that `sluiced --version`, `sluice --version` and the API's status tell. */
#ifndef SLUICE_VERSION_H
#define SLUICE_VERSION_H

#define SLUICE_VERSION "0.1.0"

#endif
