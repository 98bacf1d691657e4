// Writes what Meta's Parameter Builder and business SDK for Node.js send for each value.
//
//     node node_hashes.js NODE_MODULES < [[field, value], ...] > [{"parameter_builder": hash, "node_sdk": hash}, ...]
//
// A hash is null if the library sends nothing, "error" if it throws, and absent if it has no such field.
'use strict';

const fs = require('fs');
const path = require('path');

const modules = path.resolve(process.argv[2]);
const { ParamBuilder } = require(path.join(modules, 'capi-param-builder-nodejs'));
const { UserData } = require(path.join(modules, 'facebook-nodejs-business-sdk'));

// Field: type of the Parameter Builder, setter and key of the SDK.
const FIELDS = {
  email: ['email', 'setEmail', 'em'],
  phone: ['phone', 'setPhone', 'ph'],
  gender: ['gender', 'setGender', 'ge'],
  birthday: ['date_of_birth', 'setDateOfBirth', 'db'],
  first_name: ['first_name', 'setFirstName', 'fn'],
  last_name: ['last_name', 'setLastName', 'ln'],
  city: ['city', 'setCity', 'ct'],
  state: ['state', 'setState', 'st'],
  zip: ['zip_code', 'setZip', 'zp'],
  country: ['country', 'setCountry', 'country'],
  external_id: ['external_id'],
};

const builder = new ParamBuilder();

function sentBySdk(setter, key, value) {
  try {
    const sent = new UserData()[setter](value).normalize()[key];
    return (Array.isArray(sent) ? sent[0] : sent) ?? null;
  } catch {
    return 'error';
  }
}

const answers = JSON.parse(fs.readFileSync(0, 'utf8')).map(([field, value]) => {
  const [type, setter, key] = FIELDS[field];
  const sent = { parameter_builder: builder.getNormalizedAndHashedPII(value, type) };
  return setter ? { ...sent, node_sdk: sentBySdk(setter, key, value) } : sent;
});
process.stdout.write(JSON.stringify(answers));
