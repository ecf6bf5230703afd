// A TypeORM application: it connects, handles what could be requests, and uses a transaction. Its phases: see checks.py.

const assert = require('assert');
const { DataSource, EntitySchema, MoreThan } = require('typeorm');
const { phase, host, port, user, password, database } = require('./checks');

const Item = new EntitySchema({
    name: 'Item',
    tableName: 'typeorm_item',
    columns: {
        id: { type: Number, primary: true, generated: true },
        name: { type: String, length: 20, unique: true },
        price: { type: Number },
        made: { type: 'datetime', createDate: true },
    },
});

async function main() {
    const options = { type: 'mysql', host, port, username: user, password, database, entities: [Item] };
    const source = await new DataSource(options).initialize();
    await phase('connected');
    await source.synchronize();
    await phase('migrated');
    const items = source.getRepository('Item');
    for (let number = 0; number < 5; number++) {
        const item = await items.save({ name: `item ${number}`, price: number });
        assert.strictEqual(item.id, number + 1);
        await phase(`created ${number}`);
    }
    assert.strictEqual(await items.countBy({ price: MoreThan(2) }), 2);
    await phase('requests');
    await source.transaction(async (manager) => {
        const lock = { mode: 'pessimistic_write' };
        const item = await manager.findOne('Item', { where: { name: 'item 3' }, lock });
        item.price = 30;
        await manager.save('Item', item);
        await phase('transaction');
    });
    await phase('committed');
    assert.strictEqual((await items.findOneBy({ name: 'item 3' })).price, 30);
    await phase('read');
    await source.destroy();
    process.exit(0);
}

main();
