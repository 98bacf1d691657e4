#include "mapping.h"

void consume(mapping *mapping, unsigned input) {
    if (mapping->found[input] > 0 && mapping->consumed_count < MAX_CONSUMED) {
        mapping->consumed[mapping->consumed_count++] = mapping->found[input];
    }
}

/* Whether a value is none for its input. Products are an object or a list that is not empty; anything else is no list
 * of products, and that of the next path counts. */
static bool is_nothing(const json_value *value, unsigned input) {
    return input == INPUT_contents && value->type != JSON_OBJECT && (value->type != JSON_ARRAY || value->length == 0);
}

/* Notes a value for its inputs. False for a value that only Python maps. */
static bool note_value(mapping *mapping, const plan_key *key, uint32_t index) {
    const plan_use *use = &mapping->plan->uses[key->first_use];
    for (uint16_t i = 0; i < key->uses; i++, use++) {
        if (use->input == INPUT_fall_back
            || (use->input == INPUT_switch && value_at(mapping, index)->type != JSON_TRUE)) {
            return false;
        }
        bool is_first = mapping->found[use->input] == 0 || use->rank < mapping->ranks[use->input];
        if (is_first && !is_nothing(value_at(mapping, index), use->input)) {
            mapping->found[use->input] = index;
            mapping->ranks[use->input] = use->rank;
        }
    }
    return true;
}

/* Reads an object on a source path. As deep as the paths of the plan, which have at most MAX_LEVELS steps. */
static bool read_object(mapping *mapping, uint16_t node, uint32_t object) {
    const json_value *values = mapping->document->values;
    const table *keys = &mapping->plan->nodes[node];
    for (uint32_t name = object + 1; name < values[object].next; name = values[name + 1].next) {
        const json_value *value = &values[name + 1];
        if (value->type == JSON_NULL) {
            continue;
        }
        uint32_t number = table_find_hashed(keys, text_of_string(&values[name]), values[name].hash);
        if (number == NOT_FOUND) {
            continue;
        }
        const plan_key *key = &mapping->plan->keys[number];
        if (!note_value(mapping, key, name + 1)) {
            return false;
        }
        if (key->node != NO_NODE && (value->type != JSON_OBJECT || !read_object(mapping, key->node, name + 1))) {
            return false;
        }
    }
    return true;
}

bool read_inputs(mapping *mapping, uint32_t event) {
    memset(mapping->found, 0, sizeof(mapping->found));
    return value_at(mapping, event)->type == JSON_OBJECT && read_object(mapping, 0, event);
}
