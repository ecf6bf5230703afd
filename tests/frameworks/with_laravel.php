<?php
// A Laravel application (its database layer, Eloquent): it connects, handles what could be requests, and uses a
// transaction. Its phases: see checks.py.

error_reporting(E_ALL & ~E_DEPRECATED);
require '/usr/share/php/Illuminate/Database/autoload.php';

use Illuminate\Database\Capsule\Manager as Capsule;
use Illuminate\Database\Eloquent\Model;

[, $host, $port, $user, $password, $database] = $argv;

function phase(string $name): void
{
    echo "$name\n";
    fgets(STDIN);
}

class Item extends Model
{
    protected $table = 'laravel_item';
    protected $fillable = ['name', 'price'];
}

$capsule = new Capsule();
$capsule->addConnection([
    'driver' => 'mysql', 'host' => $host, 'port' => $port, 'username' => $user, 'password' => $password,
    'database' => $database, 'charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci', 'strict' => true,
    'timezone' => '+01:00',
]);
$capsule->setAsGlobal();
$capsule->bootEloquent();

Capsule::connection()->getPdo();
phase('connected');
Capsule::schema()->dropIfExists('laravel_item');
Capsule::schema()->create('laravel_item', function ($table) {
    $table->id();
    $table->string('name', 20)->unique();
    $table->integer('price');
    $table->timestamps();
});
phase('migrated');

foreach (range(0, 4) as $number) {
    $item = Item::create(['name' => "item $number", 'price' => $number]);
    assert($item->id === $number + 1);
    phase("created $number");
}
assert(Item::where('price', '>', 2)->count() === 2);
assert(Item::where('price', '<', 2)->update(['price' => 7]) === 2);
assert(Item::firstOrCreate(['name' => 'item 0'], ['price' => 1])->price === 7);
phase('requests');

Capsule::connection()->transaction(function () {
    $item = Item::where('name', 'item 3')->lockForUpdate()->first();
    $item->price = 30;
    $item->save();
    phase('transaction');
});
phase('committed');
assert(Item::where('name', 'item 3')->first()->price === 30);
phase('read');
