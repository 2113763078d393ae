/* SPDX-License-Identifier: MIT */
/* Questions about file names. A file that does not exist yet is named by where it would appear. */
#include "path.h"

#include "cli.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINKS_MAX 40

static char *folder_name(const char *path)
{
	char *copy = cli_copy(path);
	char *name = cli_copy(dirname(copy));

	free(copy);
	return name;
}

static char *last_name(const char *path)
{
	char *copy = cli_copy(path);
	char *name = cli_copy(basename(copy));

	free(copy);
	return name;
}

/* Replace *@path by what it points at. Return: false when it is no link. */
static bool follow_link(char **path)
{
	char *target = cli_allocate(PATH_MAX);
	ssize_t bytes = readlink(*path, target, PATH_MAX - 1);

	if (bytes > 0) {
		char *folder = folder_name(*path);
		char *next =
			target[0] == '/' ? cli_copy(target) : cli_format("%s/%s", folder, target);

		free(folder);
		free(*path);
		*path = next;
	}
	free(target);
	return bytes > 0;
}

/* @path with links in its last part followed as far as they go. */
static char *follow_links(const char *path)
{
	char *at = cli_copy(path);

	for (int i = 0; i < LINKS_MAX && follow_link(&at); i++)
		;
	return at;
}

char *path_folder(const char *path)
{
	char *end = follow_links(path);
	char *name = folder_name(end);
	char *folder = realpath(name, NULL);

	free(name);
	free(end);
	return folder;
}

static char *future_name(const char *path)
{
	char *end = follow_links(path);
	char *folder = path_folder(path);
	char *name = last_name(end);
	char *whole = folder ? cli_format("%s/%s", folder, name) : NULL;

	free(name);
	free(folder);
	free(end);
	return whole;
}

/* What is written there is gone; two outputs do not disturb each other. */
static bool is_null_device(const struct stat *info)
{
	return S_ISCHR(info->st_mode) && info->st_rdev == makedev(1, 3);
}

static bool is_same_info(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && !is_null_device(a);
}

bool path_is_same(const char *a, const char *b)
{
	struct stat info_a;
	struct stat info_b;
	bool exists_a = stat(a, &info_a) == 0;
	bool exists_b = stat(b, &info_b) == 0;
	char *name_a;
	char *name_b;
	bool same;

	if (exists_a && exists_b)
		return is_same_info(&info_a, &info_b);
	if (exists_a || exists_b)
		return false;
	name_a = future_name(a);
	name_b = future_name(b);
	same = name_a && name_b && strcmp(name_a, name_b) == 0;
	free(name_a);
	free(name_b);
	return same;
}

bool path_is_open_as(const char *path, int fd)
{
	struct stat named;
	struct stat open;

	return stat(path, &named) == 0 && fstat(fd, &open) == 0 && is_same_info(&named, &open);
}
