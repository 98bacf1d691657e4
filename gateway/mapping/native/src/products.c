#include "mapping.h"

/* Indices of a product's parts; 0: none. */
typedef struct {
    uint32_t parts[PRODUCT_PARTS];
} product;

static void read_parts(const mapping *mapping, uint32_t object, product *product) {
    const json_value *values = mapping->document->values;
    memset(product, 0, sizeof(*product));
    for (uint32_t name = object + 1; name < values[object].next; name = values[name + 1].next) {
        uint32_t part =
            table_find_hashed(&mapping->plan->product_keys, text_of_string(&values[name]), values[name].hash);
        if (part != NOT_FOUND && values[name + 1].type != JSON_NULL) {
            product->parts[part] = name + 1;
        }
    }
}

static void put_part_name(mapping *mapping, unsigned part) {
    buffer_put_name(&mapping->text, mapping->plan->product_names[part]);
}

/* The ID: the first of three parts. */
static bool read_id(const mapping *mapping, const product *product, text_view *id) {
    static const unsigned parts[] = {PART_product_id, PART_id, PART_sku};
    for (size_t i = 0; i < 3; i++) {
        uint32_t index = product->parts[parts[i]];
        if (index > 0) {
            if (!text_of_value(mapping->document, value_at(mapping, index), id) || id->length > MAX_TEXT) {
                return false;
            }
            *id = text_strip(*id);
            return id->length > 0;
        }
    }
    return false;
}

static bool put_quantity(mapping *mapping, uint32_t index) {
    const json_value *value = index > 0 ? value_at(mapping, index) : NULL;
    put_part_name(mapping, PART_quantity);
    bool is_positive = value != NULL
                       && ((value->type == JSON_INTEGER && value->as.integer > 0)
                           || (value->type == JSON_REAL && value->as.real > 0));
    if (is_positive) {
        return buffer_put_number(&mapping->text, mapping->document, value);
    }
    buffer_put_byte(&mapping->text, '1');
    return value == NULL || value->type == JSON_INTEGER || value->type == JSON_REAL;
}

static bool put_text_part(mapping *mapping, unsigned part, uint32_t index) {
    text_view text;
    if (index == 0) {
        return true;
    }
    if (!text_of_value(mapping->document, value_at(mapping, index), &text) || text.length > MAX_LONG_TEXT) {
        return false;
    }
    text = text_strip(text);
    if (text.length > 0) {
        put_part_name(mapping, part);
        buffer_put_string(&mapping->text, text);
    }
    return true;
}

static bool put_price(mapping *mapping, uint32_t index) {
    const json_value *value = index > 0 ? value_at(mapping, index) : NULL;
    if (value == NULL) {
        return true;
    }
    put_part_name(mapping, PART_price);
    switch (value->type) {
        case JSON_INTEGER:
        case JSON_REAL:
        case JSON_NUMBER:
            return buffer_put_number(&mapping->text, mapping->document, value);
        case JSON_STRING:
            return buffer_put_number_of_text(&mapping->text, text_of_string(value));
        default:
            return false;
    }
}

static void put_delivery(mapping *mapping, uint32_t index) {
    const json_value *value = index > 0 ? value_at(mapping, index) : NULL;
    bool is_sent = mapping->plan->product_names[PART_delivery_category].length > 0; /* not in `offline` */
    if (value == NULL || !is_sent || value->type != JSON_STRING) {
        return;
    }
    text_view text = text_of_string(value);
    if (table_find(&mapping->plan->deliveries, text) != NOT_FOUND) {
        put_part_name(mapping, PART_delivery_category);
        buffer_put_string(&mapping->text, text);
    }
}

static bool put_product(mapping *mapping, const product *product) {
    text_view id;
    if (!read_id(mapping, product, &id)) {
        return false;
    }
    buffer_put_comma(&mapping->text);
    buffer_put_byte(&mapping->text, '{');
    put_part_name(mapping, PART_id);
    buffer_put_string(&mapping->text, id);
    if (!put_quantity(mapping, product->parts[PART_quantity])
        || !put_text_part(mapping, PART_brand, product->parts[PART_brand])
        || !put_text_part(mapping, PART_category, product->parts[PART_category])
        || !put_price(mapping, product->parts[PART_price])) {
        return false;
    }
    put_delivery(mapping, product->parts[PART_delivery_category]);
    buffer_put_byte(&mapping->text, '}');
    return true;
}

/* The single product that the properties describe. They may have an `id`, which is not the product's. */
static void read_single_product(const mapping *mapping, product *product) {
    read_parts(mapping, mapping->found[INPUT_properties], product);
    product->parts[PART_id] = product->parts[PART_delivery_category] = 0;
}

bool put_contents(mapping *mapping) {
    const json_value *values = mapping->document->values;
    uint32_t contents = mapping->found[INPUT_contents];
    product product;
    if (!mapping->has_contents) {
        return true;
    }
    buffer_put_literal(&mapping->text, ",\"contents\":[");
    if (mapping->is_single_product) {
        read_single_product(mapping, &product);
        if (!put_product(mapping, &product)) {
            return false;
        }
    } else if (values[contents].type == JSON_OBJECT) {
        read_parts(mapping, contents, &product);
        if (!put_product(mapping, &product)) {
            return false;
        }
    } else {
        for (uint32_t entry = contents + 1; entry < values[contents].next; entry = values[entry].next) {
            if (values[entry].type != JSON_OBJECT) {
                return false;
            }
            read_parts(mapping, entry, &product);
            if (!put_product(mapping, &product)) {
                return false;
            }
        }
    }
    buffer_put_byte(&mapping->text, ']');
    return true;
}

/* The content type of a category; false when the category has none. */
static bool find_content_type(mapping *mapping, uint32_t index) {
    if (index == 0 || value_at(mapping, index)->type != JSON_STRING) {
        return false;
    }
    uint32_t number = table_find(&mapping->plan->categories, text_strip(text_of_string(value_at(mapping, index))));
    if (number == NOT_FOUND) {
        return false;
    }
    mapping->content_type = mapping->plan->content_types[number];
    return true;
}

static void read_content_type(mapping *mapping) {
    mapping->content_type = (text_view){NULL, 0, true, true};
    if (mapping->plan->category_count == 0 || find_content_type(mapping, mapping->found[INPUT_category])
        || !mapping->has_products) {
        return;
    }
    uint32_t first = mapping->found[INPUT_contents];
    if (value_at(mapping, first)->type == JSON_ARRAY) {
        first++;
    }
    product product;
    if (value_at(mapping, first)->type == JSON_OBJECT) {
        read_parts(mapping, first, &product);
        find_content_type(mapping, product.parts[PART_category]);
    }
}

void read_products(mapping *mapping) {
    mapping->has_products = mapping->found[INPUT_contents] > 0;
    mapping->is_single_product =
        !mapping->has_products && (mapping->found[INPUT_product_id] > 0 || mapping->found[INPUT_sku] > 0);
    mapping->has_contents = mapping->has_products || mapping->is_single_product;
    consume(mapping, INPUT_contents);
    read_content_type(mapping);
}
