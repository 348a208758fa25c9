from trading.compiled import use

use()
