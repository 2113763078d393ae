/* SPDX-License-Identifier: MIT */
/* The report as JSON: a dotted key becomes nested objects. docs/run-json.md lists the keys. */
#include "run.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The object for all but the last part of @key; *@last is that part. NULL: a value is in the way.
 */
static json_t *descend(json_t *root, char *key, char **last)
{
	json_t *at = root;
	char *dot;

	while ((dot = strchr(key, '.')) != NULL) {
		json_t *next;

		*dot = '\0';
		next = json_object_get(at, key);
		if (!next) {
			next = json_object();
			(void)json_object_set_new(at, key, next);
		}
		if (!json_is_object(next))
			return NULL;
		at = next;
		key = dot + 1;
	}
	*last = key;
	return json_is_object(json_object_get(at, key)) ? NULL : at;
}

static void put(json_t *root, const char *key, json_t *value)
{
	char *copy = cli_copy(key);
	char *last = NULL;
	json_t *object = descend(root, copy, &last);

	if (object) {
		(void)json_object_set_new(object, last, value);
	} else {
		cli_warn("the report's key %s is a value and a group at once; left out", key);
		json_decref(value);
	}
	free(copy);
}

/* Text from the guest's side may be anything; JSON holds UTF-8. */
static json_t *make_text(const char *text)
{
	json_t *value = json_string(text);

	return value ? value : json_string("(not UTF-8)");
}

static json_t *make_number(uint64_t number)
{
	char digits[24];

	if (number <= INT64_MAX)
		return json_integer((json_int_t)number);
	(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
	return json_string(digits);
}

static json_t *make_findings(const struct report *report)
{
	json_t *list = json_array();

	for (size_t i = 0; i < report->finding_count; i++)
		(void)json_array_append_new(list, make_text(report->findings[i]));
	return list;
}

bool json_write(const struct report *report, int fd, int exit_status, double wall_seconds)
{
	json_t *root = json_object();
	char *text;
	size_t done = 0;
	size_t bytes;

	for (size_t i = 0; i < report->count; i++) {
		const struct report_entry *entry = &report->entries[i];

		put(root, entry->key,
		    entry->text ? make_text(entry->text) : make_number(entry->number));
	}
	put(root, "guest.ok", json_boolean(report->guest_ok));
	put(root, "audit.messages", make_findings(report));
	put(root, "run.wall_seconds", json_real((double)(int64_t)(wall_seconds * 1000) / 1000));
	put(root, "run.exit_status", json_integer(exit_status));
	if (report->error)
		put(root, "run.error", make_text(report->error));
	text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	json_decref(root);
	if (!text)
		return false;
	bytes = strlen(text);
	text[bytes++] = '\n';
	while (done < bytes) {
		ssize_t wrote = write(fd, text + done, bytes - done);

		if (wrote <= 0)
			break;
		done += (size_t)wrote;
	}
	free(text);
	return done == bytes;
}
