/*
 * Rules for a disk's faults: arguments with unions, answers with lists of unions, and the resulting errors.
 *
 *     faults SOCKET
 *
 * The machine has a disk "disk0" without rules.
 */
#include "check.h"

static void add(QmpSession *session, const QmpBlockFaultRule *rule, const char *id)
{
    QmpError *error;
    QmpBlockFaultAdded *added = libqmp_block_fault_add(session, rule, &error);

    CHECK_OK(added != NULL, error);
    CHECK(SAME(added->id, id));
    CHECK(added->seed == (rule->has_seed ? rule->seed : 7));
    libqmp_block_fault_added_free(added);
}

static void add_rules(QmpSession *session)
{
    const QmpBlockFaultOperation operations[] = {
        QMP_BLOCK_FAULT_OPERATION_READ,
        QMP_BLOCK_FAULT_OPERATION_WRITE_ZEROES,
    };
    const QmpBlockFaultOperationList some = { 2, operations };
    const QmpBlockFaultPercentile points[] = { { 50.0, 10 }, { 100.0, UINT64_MAX } };
    const QmpBlockFaultPercentileList percentiles = { 2, points };

    /* A branch with an alternate, of both kinds. */
    QmpBlockFaultRule by_name = {
        .id = "by name",
        .device = "disk0",
        .operations = &some,
        .has_sector = true,
        .sector = UINT64_MAX,
        .has_probability = true,
        .probability = 0.25,
        .has_seed = true,
        .seed = 42,
        .action = QMP_BLOCK_FAULT_ACTION_TYPE_ERROR,
    };
    QmpBlockFaultRule by_number = { .device = "disk0", .action = QMP_BLOCK_FAULT_ACTION_TYPE_ERROR };
    /* A branch with an optional list, and one without members. */
    QmpBlockFaultRule delay = { .device = "disk0", .action = QMP_BLOCK_FAULT_ACTION_TYPE_DELAY };
    QmpBlockFaultRule hang = { .device = "disk0", .action = QMP_BLOCK_FAULT_ACTION_TYPE_HANG };

    by_name.u.error.errno_.kind = QMP_BLOCK_FAULT_ERRNO_KIND_NAME;
    by_name.u.error.errno_.u.name = QMP_BLOCK_FAULT_ERRNO_NAME_ENOSPC;
    by_name.u.error.has_after = true;
    by_name.u.error.after = true;
    by_number.u.error.errno_.kind = QMP_BLOCK_FAULT_ERRNO_KIND_NUMBER;
    by_number.u.error.errno_.u.number = 5;
    delay.u.delay.percentiles = &percentiles;
    add(session, &by_name, "by name");
    add(session, &by_number, "rule1");
    add(session, &delay, "rule2");
    add(session, &hang, "rule3");
}

static void check_by_name(const QmpBlockFaultRule *rule)
{
    CHECK(SAME(rule->id, "by name"));
    CHECK(SAME(rule->device, "disk0"));
    CHECK(rule->operations != NULL && rule->operations->count == 2);
    CHECK(rule->operations->items[0] == QMP_BLOCK_FAULT_OPERATION_READ);
    CHECK(rule->operations->items[1] == QMP_BLOCK_FAULT_OPERATION_WRITE_ZEROES);
    CHECK(rule->has_sector && rule->sector == UINT64_MAX);
    CHECK(!rule->has_sectors && rule->sectors == 0);
    CHECK(rule->has_probability && rule->probability > 0.24 && rule->probability < 0.26);
    CHECK(rule->has_seed && rule->seed == 42);
    CHECK(rule->state == NULL);
    CHECK(rule->action == QMP_BLOCK_FAULT_ACTION_TYPE_ERROR);
    CHECK(rule->u.error.errno_.kind == QMP_BLOCK_FAULT_ERRNO_KIND_NAME);
    CHECK(rule->u.error.errno_.u.name == QMP_BLOCK_FAULT_ERRNO_NAME_ENOSPC);
    CHECK(rule->u.error.has_after && rule->u.error.after);
}

static void check_rules(QmpSession *session)
{
    QmpError *error;
    QmpBlockFaultInfoList *faults = libqmp_query_block_faults(session, &error);
    const QmpBlockFaultInfo *disk;
    const QmpBlockFaultRule *delay;

    CHECK_OK(faults != NULL, error);
    CHECK(faults->count == 1);
    disk = &faults->items[0];
    CHECK(SAME(disk->device, "disk0") && SAME(disk->state, "1"));
    CHECK(disk->rules.count == 4);
    check_by_name(&disk->rules.items[0].rule);
    CHECK(disk->rules.items[0].matches == UINT64_MAX);
    CHECK(disk->rules.items[1].rule.operations == NULL);
    CHECK(disk->rules.items[1].rule.u.error.errno_.kind == QMP_BLOCK_FAULT_ERRNO_KIND_NUMBER);
    CHECK(disk->rules.items[1].rule.u.error.errno_.u.number == 5);
    CHECK(!disk->rules.items[1].rule.u.error.has_after);
    delay = &disk->rules.items[2].rule;
    CHECK(delay->action == QMP_BLOCK_FAULT_ACTION_TYPE_DELAY);
    CHECK(!delay->u.delay.has_microseconds);
    CHECK(delay->u.delay.percentiles->count == 2);
    CHECK(delay->u.delay.percentiles->items[1].microseconds == UINT64_MAX);
    CHECK(disk->rules.items[3].rule.action == QMP_BLOCK_FAULT_ACTION_TYPE_HANG);
    CHECK(disk->hanging.count == 1 && disk->hanging.items[0].sectors == 16);
    /* Frees the whole answer, without the session. */
    libqmp_block_fault_info_list_free(faults);
}

static void check_errors(QmpSession *session)
{
    QmpError *error;
    QmpBlockFaultRule elsewhere = { .device = "disk1", .action = QMP_BLOCK_FAULT_ACTION_TYPE_HANG };
    QmpBlockResizeArguments resize = { .device = "disk1", .size = -1 };
    QmpBlockPowerCutArguments cut = { .has_seed = true, .seed = 1 };

    CHECK(libqmp_block_fault_add(session, &elsewhere, &error) == NULL);
    CHECK(libqmp_error_kind(error) == QMP_ERROR_KIND_COMMAND);
    CHECK(libqmp_error_class(error) == QMP_ERROR_CLASS_DEVICE_NOT_FOUND);
    CHECK(SAME(libqmp_error_class_name(error), "DeviceNotFound"));
    CHECK(SAME(libqmp_error_description(error), "Device 'disk1' not found"));
    CHECK(SAME(libqmp_error_message(error), "DeviceNotFound: Device 'disk1' not found"));
    libqmp_error_free(error);
    CHECK_FAILED(libqmp_block_resize(session, &resize, &error), error, QMP_ERROR_KIND_COMMAND, "disk1");
    CHECK(!libqmp_block_power_cut(session, &cut, &error));
    CHECK(libqmp_error_class(error) == QMP_ERROR_CLASS_GENERIC_ERROR);
    libqmp_error_free(error);
    /* The caller need not ask for the error. */
    CHECK(!libqmp_block_resize(session, &resize, NULL));
    CHECK(libqmp_block_fault_add(session, &elsewhere, NULL) == NULL);
}

/** A structure within itself, and the largest and smallest numbers. */
static void check_nesting(QmpSession *session)
{
    QmpError *error;
    QmpQueryBlockstatsArguments arguments = { .has_query_nodes = true, .query_nodes = false };
    QmpBlockStatsList *all = libqmp_query_blockstats(session, &arguments, &error);

    CHECK_OK(all != NULL, error);
    CHECK(all->count == 2);
    CHECK(SAME(all->items[0].device, "disk2"));
    CHECK(SAME(all->items[0].parent->device, "disk1"));
    CHECK(SAME(all->items[0].parent->parent->device, "disk0"));
    CHECK(all->items[0].parent->parent->parent == NULL);
    CHECK(all->items[1].parent == NULL && all->items[1].backing == NULL);
    CHECK(all->items[0].stats.rd_bytes == INT64_MAX && all->items[0].stats.wr_bytes == INT64_MIN);
    CHECK(all->items[0].stats.has_idle_time_ns && all->items[0].stats.idle_time_ns == -1);
    CHECK(all->items[0].stats.timed_stats.count == 0);
    libqmp_block_stats_list_free(all);
    /* All arguments are optional, so NULL stands for none. */
    all = libqmp_query_blockstats(session, NULL, &error);
    CHECK_OK(all != NULL, error);
    libqmp_block_stats_list_free(all);
    CHECK_OK(libqmp_block_fault_clear(session, NULL, &error), error);
}

/** A NUL in the server's string does not end it in C. */
static void check_text(QmpSession *session)
{
    QmpError *error;
    QmpNameInfo *name = libqmp_query_name(session, &error);

    CHECK_OK(name != NULL, error);
    CHECK(SAME(name->name, "a\xef\xbf\xbd" "b \xf0\x9f\x92\xbe"));
    libqmp_name_info_free(name);
}

static void check_schema(QmpSession *session)
{
    QmpError *error;
    QmpSchemaInfoList *all = libqmp_query_qmp_schema(session, &error);
    size_t index;
    size_t enums = 0;

    CHECK_OK(all != NULL, error);
    for (index = 0; index < all->count; index++) {
        const QmpSchemaInfo *info = &all->items[index];

        if (info->meta_type == QMP_SCHEMA_META_TYPE_ENUM) {
            CHECK(info->u.enum_.members.count == info->u.enum_.values.count);
            CHECK(SAME(info->u.enum_.members.items[0].name, info->u.enum_.values.items[0]));
            enums++;
        }
    }
    CHECK(enums > 10);
    libqmp_schema_info_list_free(all);
}

int main(int argc, char **argv)
{
    QmpError *error;
    QmpSessionOptions options = QMP_SESSION_OPTIONS_INIT;
    QmpSession *session;

    CHECK(argc == 2);
    options.timeout_ms = 120 * 1000;
    options.within_ms = 60 * 1000;
    session = libqmp_session_new(argv[1], &options, &error);
    CHECK_OK(session != NULL, error);
    add_rules(session);
    check_rules(session);
    check_errors(session);
    check_nesting(session);
    check_text(session);
    check_schema(session);
    libqmp_session_free(session);
    return 0;
}
